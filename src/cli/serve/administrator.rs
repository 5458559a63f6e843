//! Creates the first administrator from the settings. Never promotes an existing account.

use std::time::Duration;

use domain::{ClaimKind, EmailAddress, PasswordHash, UserCommand, Username};
use store::{AppendError, Env};

use crate::app::{App, Services};
use crate::cli::error::{CliError, CliResult};
use crate::command::{CommandContext, CommandError, UserCommands};
use crate::config::AdministratorSettings;
use crate::crypto::{HashSource, NewPassword, NewPasswordError, Password};

/// That of the administrator, unless it is taken.
const USERNAME: &str = "admin";
/// The pause between two attempts while the database is unavailable.
const RETRY_INTERVAL: Duration = Duration::from_millis(500);

/// Creates the configured administrator unless there is any administrator.
pub(super) async fn ensure(app: &App, services: &Services) -> CliResult {
    let Some(AdministratorSettings { email, password }) = &app.settings.administrator else { return Ok(()) };
    let mut password_hash = None;
    loop {
        let result = match &password_hash {
            None => services
                .users
                .has_administrator()
                .await
                .map(|exists| exists.then_some(BootstrapResult::AlreadyExists)),
            Some(hash) => create(&services.users, &app.env, email, hash).await.map(Some),
        };
        match result {
            Ok(Some(BootstrapResult::Created)) => {
                tracing::info!("created the first administrator, configured by AEGIS_ADMIN_EMAIL");
                return Ok(());
            }
            Ok(Some(BootstrapResult::AlreadyExists)) => return Ok(()),
            Ok(Some(BootstrapResult::EmailTaken)) => {
                return Err(CliError::AdministratorEmailTaken(email.as_str().to_owned()));
            }
            Ok(None) => {
                password_hash = Some(hash(app, email, password.expose()).await?);
            }
            Err(error) if is_retryable(&error) => {
                tracing::warn!(%error, "cannot create the first administrator; retrying");
                tokio::time::sleep(RETRY_INTERVAL).await;
            }
            Err(error) => return Err(error.into()),
        }
    }
}

async fn hash(app: &App, email: &EmailAddress, password: &str) -> CliResult<PasswordHash> {
    let username = Username::from_stored(USERNAME);
    let password = NewPassword::new(Password::new(password.to_owned()), email, &username);
    app.hashing.hash_new(password, HashSource::Unlimited).await.map_err(|error| match error {
        NewPasswordError::Weak(weak) => CliError::WeakAdministratorPassword(weak),
        NewPasswordError::Hashing(error) => error.into(),
    })
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum BootstrapResult {
    Created,
    AlreadyExists,
    /// A user who is not an administrator has the e-mail address.
    EmailTaken,
}

async fn create(
    users: &UserCommands,
    env: &Env,
    email: &EmailAddress,
    password_hash: &PasswordHash,
) -> Result<BootstrapResult, CommandError> {
    let request = env.uuid();
    let context = CommandContext::new("system", format!("start-{}", request.hyphenated()));
    for name in [USERNAME.to_owned(), format!("{USERNAME}-{}", request.simple())] {
        let Ok(username) = Username::parse(&name) else { continue };
        let (email, password_hash) = (email.clone(), Some(password_hash.clone()));
        let registration = UserCommand::Register { email, username, password_hash };
        match users.register_first_administrator(&context, registration).await {
            Ok(made) => return Ok(made.map_or(BootstrapResult::AlreadyExists, |_| BootstrapResult::Created)),
            Err(CommandError::Append(AppendError::ClaimTaken { kind }))
                if kind == ClaimKind::Email.as_str() =>
            {
                // Another process may have created the administrator at the same time.
                let exists = users.has_administrator().await?;
                return Ok(if exists { BootstrapResult::AlreadyExists } else { BootstrapResult::EmailTaken });
            }
            // The username is taken: try the next one.
            Err(CommandError::Append(AppendError::ClaimTaken { .. })) => {}
            Err(error) => return Err(error),
        }
    }
    Err(CommandError::Append(AppendError::ClaimTaken { kind: ClaimKind::Username.as_str() }))
}

/// Whether a retry may succeed. It also resolves an unknown outcome.
fn is_retryable(error: &CommandError) -> bool {
    match error {
        CommandError::Contended(_)
        | CommandError::Append(
            AppendError::Busy | AppendError::Unknown(_) | AppendError::ClaimTaken { .. },
        ) => true,
        CommandError::Store(error) => error.is_transient(),
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use domain::Role;
    use store::memory::Memory;
    use store::{EventQuery, EventStore, MasterKey};

    use super::*;

    async fn store() -> (EventStore, UserCommands) {
        let env = Env::system();
        let master = MasterKey::generate(&env);
        let store =
            EventStore::open(std::sync::Arc::new(Memory::default()), master, env.clone()).await.unwrap();
        (store.clone(), UserCommands::new(store, env))
    }

    fn sample_hash() -> PasswordHash {
        PasswordHash::new("$argon2id$".to_owned()).unwrap()
    }

    async fn bootstrap(users: &UserCommands, email: &str) -> BootstrapResult {
        create(users, &Env::system(), &EmailAddress::parse(email).unwrap(), &sample_hash()).await.unwrap()
    }

    async fn sign_up(users: &UserCommands, email: &str, username: &str) {
        let email = EmailAddress::parse(email).unwrap();
        let username = Username::parse(username).unwrap();
        users
            .register(
                "r",
                None,
                UserCommand::Register { email, username, password_hash: Some(sample_hash()) },
            )
            .await
            .unwrap();
    }

    #[tokio::test]
    async fn first_administrator_is_created_once() {
        let (store, users) = store().await;
        assert_eq!(bootstrap(&users, "a@example.com").await, BootstrapResult::Created);
        assert_eq!(bootstrap(&users, "a@example.com").await, BootstrapResult::AlreadyExists);
        assert_eq!(bootstrap(&users, "b@example.com").await, BootstrapResult::AlreadyExists);
        let events = store.read(&EventQuery { limit: 10, ..EventQuery::default() }).await.unwrap();
        let types: Vec<_> = events.iter().map(|event| event.envelope.event_type.as_str()).collect();
        assert_eq!(types, ["UserRegistered", "RoleGranted", "AdministratorAdded"]);
        let id = domain::UserId::from_stream(events[0].envelope.stream.as_str()).unwrap();
        let account = users.state(id).await.unwrap().unwrap().account;
        assert!(account.roles.contains(&Role::Admin) && account.is_active);
    }

    #[tokio::test]
    async fn existing_account_is_never_promoted() {
        let (_, users) = store().await;
        sign_up(&users, "ada@example.com", "ada").await;
        assert_eq!(bootstrap(&users, "Ada@example.com").await, BootstrapResult::EmailTaken);
        assert!(!users.has_administrator().await.unwrap());
    }

    #[tokio::test]
    async fn taken_username_falls_back_to_another() {
        let (_, users) = store().await;
        sign_up(&users, "bob@example.com", "Admin").await;
        assert_eq!(bootstrap(&users, "ada@example.com").await, BootstrapResult::Created);
    }

    #[tokio::test]
    async fn concurrent_starts_create_one_administrator() {
        let (_, users) = store().await;
        let emails = ["a@example.com", "a@example.com", "b@example.com", "c@example.com"];
        let made = futures::future::join_all(emails.map(|email| bootstrap(&users, email))).await;
        assert_eq!(made.iter().filter(|made| **made == BootstrapResult::Created).count(), 1, "{made:?}");
        assert_eq!(
            made.iter().filter(|made| **made == BootstrapResult::AlreadyExists).count(),
            3,
            "{made:?}"
        );
    }
}

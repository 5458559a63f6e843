//! The first administrator, from the settings: created while there is none, and never by promoting anybody.

use std::time::Duration;

use domain::{ClaimKind, EmailAddress, PasswordHash, Username};
use store::{Ambient, AppendError};

use crate::app::{App, Node};
use crate::cli::failure::Failure;
use crate::command::{Cause, CommandError, SignUp, UserCommands};
use crate::config::AdministratorSettings;
use crate::crypto::Password;

/// The pause between two tries while the database does not answer.
const RETRY: Duration = Duration::from_millis(500);

/// Creates the administrator of the settings unless there is one, whoever it is.
pub(super) async fn ensure(app: &App, node: &Node) -> Result<(), Failure> {
    let Some(AdministratorSettings { email, password }) = &app.settings.administrator else { return Ok(()) };
    let mut password_hash = None;
    loop {
        let made = match &password_hash {
            None => node.users.has_administrator().await.map(|there_is| there_is.then_some(Made::NotNeeded)),
            Some(hash) => create(&node.users, &app.ambient, email, hash).await.map(Some),
        };
        match made {
            Ok(Some(Made::Created)) => {
                tracing::info!("the first administrator was created, as AEGIS_ADMIN_EMAIL says");
                return Ok(());
            }
            Ok(Some(Made::NotNeeded)) => return Ok(()),
            Ok(Some(Made::Taken)) => return Err(taken(email)),
            Ok(None) => {
                let password = Password::new(password.expose().to_owned());
                password_hash = Some(app.hashing.hash(password).await.map_err(Failure::because)?);
            }
            Err(error) if is_passing(&error) => {
                tracing::warn!(%error, "the first administrator cannot be created yet; trying on");
                tokio::time::sleep(RETRY).await;
            }
            Err(error) => return Err(error.into()),
        }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Made {
    Created,
    NotNeeded,
    /// The e-mail address is somebody's who is no administrator.
    Taken,
}

async fn create(
    users: &UserCommands,
    ambient: &Ambient,
    email: &EmailAddress,
    password_hash: &PasswordHash,
) -> Result<Made, CommandError> {
    let request = ambient.uuid();
    let cause = Cause::new("system", format!("start-{}", request.hyphenated()));
    for name in ["admin".to_owned(), format!("admin-{}", request.simple())] {
        let Ok(username) = Username::parse(&name) else { continue };
        let sign_up = SignUp { email: email.clone(), username, password_hash: password_hash.clone() };
        match users.sign_up_administrator(&cause, sign_up).await {
            Ok(made) => return Ok(made.map_or(Made::NotNeeded, |_| Made::Created)),
            Err(CommandError::Append(AppendError::ClaimTaken { kind }))
                if kind == ClaimKind::Email.as_str() =>
            {
                // By a process that started at the same time and was quicker, or by a user of long ago.
                let there_is = users.has_administrator().await?;
                return Ok(if there_is { Made::NotNeeded } else { Made::Taken });
            }
            // The name is no more than a suggestion: somebody has it, so the next one is tried.
            Err(CommandError::Append(AppendError::ClaimTaken { .. })) => {}
            Err(error) => return Err(error),
        }
    }
    Err(CommandError::Contended)
}

fn taken(email: &EmailAddress) -> Failure {
    let email = email.as_str();
    Failure::Failed(format!(
        "AEGIS_ADMIN_EMAIL: there is no administrator, but {email} has an account already, and settings never promote \
         one. Make it an administrator with `aegis users grant {email} admin`, or set another address"
    ))
}

/// Whether trying again may help. An outcome that nobody knows is known by then.
fn is_passing(error: &CommandError) -> bool {
    match error {
        CommandError::Contended | CommandError::Append(AppendError::Busy | AppendError::Unknown(_)) => true,
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
        let ambient = Ambient::system();
        let master = MasterKey::generate(&ambient);
        let store =
            EventStore::open(std::sync::Arc::new(Memory::default()), master, ambient.clone()).await.unwrap();
        (store.clone(), UserCommands::new(store, ambient))
    }

    fn hash() -> PasswordHash {
        PasswordHash::new("$argon2id$".to_owned()).unwrap()
    }

    async fn make(users: &UserCommands, email: &str) -> Made {
        create(users, &Ambient::system(), &EmailAddress::parse(email).unwrap(), &hash()).await.unwrap()
    }

    async fn sign_up(users: &UserCommands, email: &str, username: &str) {
        let email = EmailAddress::parse(email).unwrap();
        let username = Username::parse(username).unwrap();
        users.sign_up("r", None, SignUp { email, username, password_hash: hash() }).await.unwrap();
    }

    #[tokio::test]
    async fn the_first_administrator_is_created_once_and_whole() {
        let (store, users) = store().await;
        assert_eq!(make(&users, "a@example.com").await, Made::Created);
        assert_eq!(make(&users, "a@example.com").await, Made::NotNeeded);
        assert_eq!(make(&users, "b@example.com").await, Made::NotNeeded);
        let events = store.read(&EventQuery { limit: 10, ..EventQuery::default() }).await.unwrap();
        let types: Vec<_> = events.iter().map(|event| event.envelope.event_type.as_str()).collect();
        assert_eq!(types, ["UserRegistered", "RoleGranted", "AdministratorAdded"]);
        let id = domain::UserId::from_stream(events[0].envelope.stream.as_str()).unwrap();
        let account = users.state(id).await.unwrap().unwrap().account;
        assert!(account.roles.contains(&Role::Admin) && account.is_active);
    }

    #[tokio::test]
    async fn an_account_is_never_promoted() {
        let (_, users) = store().await;
        sign_up(&users, "ada@example.com", "ada").await;
        assert_eq!(make(&users, "Ada@example.com").await, Made::Taken);
        assert!(!users.has_administrator().await.unwrap());
    }

    #[tokio::test]
    async fn a_taken_username_is_no_obstacle() {
        let (_, users) = store().await;
        sign_up(&users, "bob@example.com", "Admin").await;
        assert_eq!(make(&users, "ada@example.com").await, Made::Created);
    }

    #[tokio::test]
    async fn of_processes_that_start_at_once_one_creates_it() {
        let (_, users) = store().await;
        let emails = ["a@example.com", "a@example.com", "b@example.com", "c@example.com"];
        let made = futures::future::join_all(emails.map(|email| make(&users, email))).await;
        assert_eq!(made.iter().filter(|made| **made == Made::Created).count(), 1, "{made:?}");
        assert_eq!(made.iter().filter(|made| **made == Made::NotNeeded).count(), 3, "{made:?}");
    }
}

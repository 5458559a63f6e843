//! Verification of credentials and hashing of new ones. Verification takes a time that does not disclose whether the e-mail address or the password
//! is wrong, and within the limits of the client and the account.

use std::sync::Arc;

use domain::{
    EmailAddress, LoginFailure, MAX_PASSWORD_LENGTH, PasswordHash, SYSTEM_ACTOR, UserCommand, UserId,
};
use projections::UserRow;
use store::key_store::ClaimHash;

use crate::app::App;
use crate::command::CommandContext;
use crate::crypto::{HashSource, HashingError, NewPassword, NewPasswordError, Password, Verification};
use crate::http::api_error::{ApiError, Loc, ValidationError};
use crate::http::password_client::PasswordClient;
use crate::limits::LoginAttempt;
use crate::logins::FailedLogin;

/// A password to verify for an account, which may not exist.
struct Check<'a> {
    app: &'a Arc<App>,
    client: &'a PasswordClient,
    password: Password,
    /// A keyed hash of the normalised e-mail address.
    account: ClaimHash,
    source: HashSource,
}

/// The active user with this e-mail address and password, whose login is recorded.
pub(crate) async fn authenticate(
    app: &Arc<App>,
    client: &PasswordClient,
    email: &str,
    password: Password,
    opens_session: bool,
) -> Result<UserRow, ApiError> {
    let parsed = EmailAddress::parse(email).ok();
    // What is no e-mail address is limited as one that no user has.
    let key = parsed.as_ref().map_or_else(|| email.trim().to_lowercase(), EmailAddress::key);
    let account = app.services()?.store.keyed_hash("login-account", &[key.as_bytes()]);
    let admission = client.admit(app).inspect_err(|_| app.logins.refused(&account))?;
    let attempt = app.limits.accounts.begin(account).await;
    let attempt = attempt.inspect_err(|_| app.logins.refused(&account)).map_err(ApiError::TooManyFailures)?;
    let check = Check { app, client, password, account, source: admission.source };
    match check.find_and_verify(parsed).await {
        Ok((row, Verification::Match { is_outdated })) => {
            // Before any event of this login.
            let limits = &app.limits;
            let admitted = if opens_session { limits.open_session(row.id) } else { limits.log_in(row.id) };
            admitted.inspect_err(|_| app.logins.refused(&account))?;
            check.succeed(attempt, &row);
            if !row.is_active {
                check.record_failure(row.id, LoginFailure::InactiveUser);
                return Err(ApiError::InactiveLogin);
            }
            check.record_success(row.id).await?;
            if is_outdated && let Some(hash) = &row.password_hash {
                check.rehash(row.id, hash.clone());
            }
            Ok(row)
        }
        Ok((row, Verification::Mismatch)) => {
            check.fail(attempt, Some(row.id));
            check.record_failure(row.id, LoginFailure::WrongPassword);
            Err(ApiError::InvalidCredentials)
        }
        Err(ApiError::InvalidCredentials) => {
            check.fail(attempt, None);
            Err(ApiError::InvalidCredentials)
        }
        Err(error) => Err(error),
    }
}

/// Confirms that the caller knows the user's password.
pub(crate) async fn confirm_password(
    app: &Arc<App>,
    client: &PasswordClient,
    password: Password,
    row: &UserRow,
) -> Result<(), ApiError> {
    let admission = client.admit(app)?;
    let account = app.services()?.store.keyed_hash("login-account", &[row.email.key().as_bytes()]);
    let attempt = app.limits.accounts.begin(account).await.map_err(ApiError::TooManyFailures)?;
    let check = Check { app, client, password, account, source: admission.source };
    match check.verify(row).await? {
        Verification::Match { .. } => {
            check.succeed(attempt, row);
            Ok(())
        }
        Verification::Mismatch => {
            check.fail(attempt, Some(row.id));
            Err(ApiError::WrongPassword)
        }
    }
}

/// Hashes a password to be set, which was given in `field`, if it is strong enough.
pub(crate) async fn hash_new_password(
    app: &App,
    field: &'static str,
    password: NewPassword,
    source: HashSource,
) -> Result<PasswordHash, ApiError> {
    app.hashing.hash_new(password, source).await.map_err(|error| match error {
        NewPasswordError::Weak(weak) => {
            ApiError::invalid(ValidationError::weak_password(Loc::Field(field), &weak))
        }
        NewPasswordError::Hashing(error) => error.into(),
    })
}

impl Check<'_> {
    /// The user with this e-mail address; [`ApiError::InvalidCredentials`] if there is none.
    async fn find_and_verify(
        &self,
        email: Option<EmailAddress>,
    ) -> Result<(UserRow, Verification), ApiError> {
        let Some(email) = email else {
            self.verify_decoy().await?;
            return Err(ApiError::InvalidCredentials);
        };
        let row = match self.app.services()?.user_rows.find_by_email(&email).await? {
            Some(row) => row,
            None => self.find_or_confirm_absent(&email).await?,
        };
        let verification = self.verify(&row).await?;
        Ok((row, verification))
    }

    /// Searches the user again, this time waiting for the read model, while hashing the password: the hash
    /// hides the additional time of the search, which only happens for unknown users.
    async fn find_or_confirm_absent(&self, email: &EmailAddress) -> Result<UserRow, ApiError> {
        let rows = &self.app.services()?.user_rows;
        let (row, hashed) = tokio::join!(rows.by_email(email), self.verify_decoy());
        hashed?;
        row?.ok_or(ApiError::InvalidCredentials)
    }

    /// A stored hash of an unknown algorithm matches no password, and neither does an absent one. Neither is
    /// disclosed.
    async fn verify(&self, row: &UserRow) -> Result<Verification, HashingError> {
        let Some(hash) = row.password_hash.clone() else {
            return self.verify_decoy().await.map(|()| Verification::Mismatch);
        };
        match self.app.hashing.verify(self.password.clone(), hash, self.source).await {
            // Passwords of this length cannot be registered, so it is wrong. It costs the same nevertheless.
            Ok(_) if self.password.expose().chars().count() > MAX_PASSWORD_LENGTH => {
                Ok(Verification::Mismatch)
            }
            Err(HashingError::Hash(error)) => {
                tracing::warn!(user = %row.id, %error, "stored password hash not usable: no login");
                self.verify_decoy().await.map(|()| Verification::Mismatch)
            }
            verified => verified,
        }
    }

    async fn verify_decoy(&self) -> Result<(), HashingError> {
        let selector = self.account.as_bytes().first_chunk().map_or(0, |first| u64::from_be_bytes(*first));
        self.app.hashing.verify_decoy(self.password.clone(), selector, self.source).await
    }

    /// Counts a failure. The first one that delays the logins of a user is recorded.
    fn fail(&self, attempt: LoginAttempt, user: Option<UserId>) {
        if attempt.failed(user)
            && let Some(id) = user
        {
            self.watch_unlocks();
            self.execute(SYSTEM_ACTOR.to_owned(), id, UserCommand::Lock);
        }
    }

    /// Forgets the failures. If there were any, another node may have recorded that the user is locked.
    fn succeed(&self, attempt: LoginAttempt, row: &UserRow) {
        if attempt.succeeded() {
            self.execute(row.id.stream(), row.id, UserCommand::Unlock);
        }
    }

    fn record_failure(&self, user: UserId, reason: LoginFailure) {
        self.app.logins.failed(FailedLogin {
            account: self.account,
            user,
            reason,
            client: self.client.login_client.clone(),
            request_id: self.client.request_id.as_str().to_owned(),
        });
    }

    /// A login that is answered is in the log: if it cannot be recorded, it fails.
    async fn record_success(&self, user: UserId) -> Result<(), ApiError> {
        let (commands, request_id) = (&self.app.services()?.logins, self.client.request_id.as_str());
        let client = self.client.login_client.clone();
        self.app.hashing.join_group().await;
        match self.app.logins.succeeded(commands, request_id, &self.account, user, client).await {
            Err(error) if error.is_erased() => Err(ApiError::InvalidCredentials),
            recorded => Ok(recorded?),
        }
    }

    /// Watches the log for the unlocking of users whose logins this node delays.
    fn watch_unlocks(&self) {
        if let Ok(services) = self.app.services()
            && self.app.limits.accounts.start_watching()
        {
            let (store, accounts) = (services.store.clone(), Arc::clone(&self.app.limits.accounts));
            let from = store.progress().head;
            self.app.spawn(crate::app::watch_unlocks(store, accounts, from));
        }
    }

    /// Replaces the hash by one with current costs.
    fn rehash(&self, id: UserId, previous: PasswordHash) {
        let (app, password, source) = (Arc::clone(self.app), self.password.clone(), self.source);
        let context = CommandContext::new(id.stream(), self.client.request_id.as_str());
        self.app.spawn(async move {
            let password_hash = match app.hashing.hash(password, source).await {
                Ok(hash) => hash,
                Err(error) => {
                    tracing::debug!(user = %id, %error, "password not rehashed; the next login tries again");
                    return;
                }
            };
            let command = UserCommand::RehashPassword { previous: previous.clone(), password_hash };
            if execute(&app, &context, id, &command).await {
                app.hashing.costs_in_use().remove(&previous);
            }
        });
    }

    /// Executes a command that the answer to the client does not depend on.
    fn execute(&self, actor: String, id: UserId, command: UserCommand) {
        let app = Arc::clone(self.app);
        let context = CommandContext::new(actor, self.client.request_id.as_str());
        self.app.spawn(async move {
            execute(&app, &context, id, &command).await;
        });
    }
}

/// Returns whether the command was executed.
async fn execute(app: &App, context: &CommandContext, id: UserId, command: &UserCommand) -> bool {
    let Ok(services) = app.services() else { return false };
    match services.users.execute(context, id, command).await {
        Ok(done) => done.position.is_some(),
        Err(error) => {
            tracing::warn!(user = %id, %error, "event of a login not recorded");
            false
        }
    }
}

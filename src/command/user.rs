//! Commands to users. A command that makes or unmakes an administrator also appends to `system` at an exact version,
//! so that of two that would each remove the other, one is judged anew and refused.

use domain::{
    Account, EmailAddress, Erasable, PasswordHash, Role, System, User, UserCommand, UserEvent, UserId,
    Username, administrator_change, system, user,
};
use jiff::Timestamp;
use store::{
    Append, AppendError, Claim, Env, EventStore, IdempotencyKey, Position, RecordedResult, StoreError,
    StreamWrite,
};

use super::loaded::{Loaded, load_system};
use super::writing::{stream_write, system_write};
use super::{ATTEMPTS, CommandContext, CommandError};

/// Carries out commands to users.
#[derive(Clone)]
pub struct UserCommands {
    store: EventStore,
    env: Env,
}

/// What a new user brings, checked and hashed.
#[derive(Clone)]
pub struct SignUp {
    /// Where they get mail.
    pub email: EmailAddress,
    /// The name they are shown by.
    pub username: Username,
    /// The hash of their password.
    pub password_hash: PasswordHash,
}

impl From<SignUp> for UserCommand {
    fn from(SignUp { email, username, password_hash }: SignUp) -> Self {
        Self::Register { email, username, password_hash }
    }
}

/// A user as their events leave them, read from the log itself.
#[derive(Clone, Debug)]
pub struct UserState {
    /// The user.
    pub id: UserId,
    /// Their account; right after they were erased, without all that was personal.
    pub account: Account,
    /// When they registered.
    pub created_at: Timestamp,
    /// The version of their stream.
    pub version: u64,
    /// The position of the last event that the command appended; `None` if it changed nothing.
    pub position: Option<Position>,
}

impl UserCommands {
    /// Commands that append to this store.
    #[must_use]
    pub fn new(store: EventStore, env: Env) -> Self {
        Self { store, env }
    }

    /// Registers a new user under a new id. The user is their own actor.
    ///
    /// # Errors
    /// [`AppendError::ClaimTaken`] with `email` or `username` if somebody else holds it.
    pub async fn register(
        &self,
        request_id: &str,
        idempotency: Option<IdempotencyKey>,
        sign_up: SignUp,
    ) -> Result<UserState, CommandError> {
        let id = UserId::from_uuid(self.env.uuid());
        let context = CommandContext { idempotency, ..CommandContext::new(id.stream(), request_id) };
        self.decide_and_append(&context, id, &Loaded::absent(), &[sign_up.into()], None).await
    }

    /// Registers the first administrator: a new user who holds the role from the start, in one append, so that neither
    /// a crash nor a rival leaves half of it. `None` if there is an administrator already: then nothing is done.
    ///
    /// # Errors
    /// As [`UserCommands::register`].
    pub async fn register_first_administrator(
        &self,
        context: &CommandContext,
        sign_up: SignUp,
    ) -> Result<Option<UserState>, CommandError> {
        let commands = [sign_up.into(), UserCommand::GrantRole { role: Role::Admin }];
        for _ in 0..ATTEMPTS {
            let loaded = load_system(&self.store).await?;
            if !loaded.0.administrators.is_empty() {
                return Ok(None);
            }
            let id = UserId::from_uuid(self.env.uuid());
            match self.decide_and_append(context, id, &Loaded::absent(), &commands, Some(loaded)).await {
                Err(CommandError::Append(AppendError::Conflict { .. })) => {}
                done => return done.map(Some),
            }
        }
        Err(CommandError::Contended)
    }

    /// Carries out a command to an existing user. With `if_match`, only if their stream is at that version.
    ///
    /// # Errors
    /// [`CommandError`]; [`domain::Rejection::Unknown`] if there is no such user, [`domain::Rejection::Erased`] if there no
    /// longer is.
    pub async fn execute(
        &self,
        context: &CommandContext,
        id: UserId,
        command: &UserCommand,
        if_match: Option<u64>,
    ) -> Result<UserState, CommandError> {
        for _ in 0..ATTEMPTS {
            let loaded = Loaded::whole(&self.store, id).await?;
            let is_present = matches!(loaded.user, User::Present(_));
            if let Some(expected) = if_match.filter(|expected| is_present && *expected != loaded.version) {
                return Err(CommandError::VersionMismatch { expected, actual: loaded.version });
            }
            match self.decide_and_append(context, id, &loaded, std::slice::from_ref(command), None).await {
                Err(CommandError::Append(AppendError::Conflict { .. })) => {}
                done => return done,
            }
        }
        Err(CommandError::Contended)
    }

    /// A user as the log has them now, however far the projections are; `None` if there is no such user, or no longer.
    ///
    /// # Errors
    /// [`CommandError`] if the history cannot be read.
    pub async fn state(&self, id: UserId) -> Result<Option<UserState>, CommandError> {
        Ok(Loaded::whole(&self.store, id).await?.state(id, None))
    }

    /// A user as an earlier command left them.
    ///
    /// # Errors
    /// [`CommandError`] if the history cannot be read; [`domain::Rejection::Erased`] if that command erased them.
    pub async fn state_after(&self, first: &RecordedResult) -> Result<UserState, CommandError> {
        let lost =
            || StoreError::corrupt(format!("{} is not in the log as its first result says", first.stream));
        let id = UserId::from_stream(first.stream.as_str()).ok_or_else(lost)?;
        let loaded = Loaded::until(&self.store, id, first.version).await?;
        if loaded.user == User::Erased {
            return Err(domain::Rejection::Erased.into());
        }
        loaded.state(id, Some(first.position)).ok_or_else(|| lost().into())
    }

    /// Whether the installation has an active administrator.
    ///
    /// # Errors
    /// [`CommandError`] if the history cannot be read.
    pub async fn has_administrator(&self) -> Result<bool, CommandError> {
        let (system, _) = load_system(&self.store).await?;
        Ok(!system.administrators.is_empty())
    }

    /// Carries out commands one after the other, in one append. `system` is the state of the installation that the
    /// caller has judged by already; without one it is read if it matters.
    async fn decide_and_append(
        &self,
        context: &CommandContext,
        id: UserId,
        loaded: &Loaded,
        commands: &[UserCommand],
        system: Option<(System, u64)>,
    ) -> Result<UserState, CommandError> {
        let (after, events) = decide(&loaded.user, commands)?;
        let change = administrator_change(id, &loaded.user, &after);
        let account = account_left(&loaded.user, after)?;
        if events.is_empty() {
            let created_at = loaded.created_at(&account, self.env.now());
            return Ok(UserState { id, account, created_at, version: loaded.version, position: None });
        }
        let mut writes = vec![self.user_write(id, loaded.version, &events)?];
        if let Some(change) = change {
            let (system, version) = match system {
                Some(loaded) => loaded,
                None => load_system(&self.store).await?,
            };
            let events = system::decide(&system, change)?;
            if !events.is_empty() {
                writes.push(system_write(&self.env, version, &events)?);
            }
        }
        let CommandContext { actor, request_id, idempotency } = context.clone();
        let appended = self.store.append(&Append { actor, request_id, writes, idempotency }).await?;
        let created_at = loaded.created_at(&account, appended.at);
        let version = appended.versions.first().copied().unwrap_or(loaded.version);
        Ok(UserState { id, account, created_at, version, position: Some(appended.position) })
    }

    fn user_write(
        &self,
        id: UserId,
        version: u64,
        events: &[UserEvent],
    ) -> Result<StreamWrite, CommandError> {
        let encoded = events.iter().map(UserEvent::encode);
        let mut write = stream_write(&self.env, &id.stream(), version, encoded)?;
        let claims = events.iter().flat_map(UserEvent::claims_taken);
        write.take = claims.map(|(kind, value)| Claim { kind: kind.as_str(), value }).collect();
        write.erase = events.iter().any(UserEvent::erases);
        Ok(write)
    }
}

/// What commands, one after the other, make of a user, and the events that say so.
fn decide(user: &User, commands: &[UserCommand]) -> Result<(User, Vec<UserEvent>), domain::Rejection> {
    let (mut after, mut events) = (user.clone(), Vec::new());
    for command in commands {
        let decided = user::decide(&after, command.clone())?;
        after = decided.iter().fold(after, user::evolve);
        events.extend(decided);
    }
    Ok((after, events))
}

/// What is left of an account: of an erased one, all that was never personal.
fn account_left(before: &User, after: User) -> Result<Account, domain::Rejection> {
    match (before, after) {
        (_, User::Present(account)) => Ok(account),
        (User::Present(account), User::Erased) => Ok(Account {
            email: Erasable::Erased,
            username: Erasable::Erased,
            password_hash: Erasable::Erased,
            is_active: false,
            ..account.clone()
        }),
        (User::Absent | User::Erased, User::Erased) => Err(domain::Rejection::Erased),
        (_, User::Absent) => Err(domain::Rejection::Unknown),
    }
}

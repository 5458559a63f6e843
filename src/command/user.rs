//! Commands to users. A command that makes or unmakes an administrator also appends to `system` at an exact version,
//! so that of two that would each remove the other, one is judged anew and refused.

use domain::{
    Account, Command, EmailAddress, Encoded, PasswordHash, Role, SYSTEM_STREAM, System, SystemEvent, User,
    UserEvent, UserId, Username, administrator_change, system, user,
};
use jiff::Timestamp;
use projections::decode;
use store::{
    Ambient, Append, AppendError, Claim, EventStore, Expected, FirstResult, IdempotencyKey, NewEvent,
    Position, StoreError, StreamId, StreamWrite,
};

use super::{Cause, CommandError};

/// How often a command is judged anew because somebody else was quicker.
const ATTEMPTS: usize = 8;

/// Carries out commands to users.
#[derive(Clone)]
pub struct UserCommands {
    store: EventStore,
    ambient: Ambient,
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

impl From<SignUp> for Command {
    fn from(SignUp { email, username, password_hash }: SignUp) -> Self {
        Self::Register { email, username, password_hash }
    }
}

/// A user as their events leave them, read from the log itself.
#[derive(Clone, Debug)]
pub struct UserState {
    /// The user.
    pub id: UserId,
    /// Their account.
    pub account: Account,
    /// When they registered.
    pub created_at: Timestamp,
    /// The version of their stream.
    pub version: u64,
    /// The position of the last event that the command appended; `None` if it changed nothing.
    pub position: Option<Position>,
}

/// A user's stream, folded.
struct Loaded {
    user: User,
    version: u64,
    created_at: Option<Timestamp>,
}

impl UserCommands {
    /// Commands that append to this store.
    #[must_use]
    pub fn new(store: EventStore, ambient: Ambient) -> Self {
        Self { store, ambient }
    }

    /// Registers a new user under a new id. The user is their own actor.
    ///
    /// # Errors
    /// [`AppendError::ClaimTaken`] with `email` or `username` if somebody else holds it.
    pub async fn sign_up(
        &self,
        request_id: &str,
        idempotency: Option<IdempotencyKey>,
        sign_up: SignUp,
    ) -> Result<UserState, CommandError> {
        let id = UserId::from_uuid(self.ambient.uuid());
        let cause = Cause { idempotency, ..Cause::new(id.stream(), request_id) };
        self.decide_and_append(&cause, id, &Loaded::absent(), &[sign_up.into()], None).await
    }

    /// Registers the first administrator: a new user who holds the role from the start, in one append, so that neither
    /// a crash nor a rival leaves half of it. `None` if there is an administrator already: then nothing is done.
    ///
    /// # Errors
    /// As [`UserCommands::sign_up`].
    pub async fn sign_up_administrator(
        &self,
        cause: &Cause,
        sign_up: SignUp,
    ) -> Result<Option<UserState>, CommandError> {
        let commands = [sign_up.into(), Command::GrantRole { role: Role::Admin }];
        for _ in 0..ATTEMPTS {
            let loaded = self.load_system().await?;
            if !loaded.0.administrators.is_empty() {
                return Ok(None);
            }
            let id = UserId::from_uuid(self.ambient.uuid());
            match self.decide_and_append(cause, id, &Loaded::absent(), &commands, Some(loaded)).await {
                Err(CommandError::Append(AppendError::Conflict { .. })) => {}
                done => return done.map(Some),
            }
        }
        Err(CommandError::Contended)
    }

    /// Carries out a command to an existing user. With `if_match`, only if their stream is at that version.
    ///
    /// # Errors
    /// [`CommandError`]; [`domain::Refusal::Unknown`] if there is no such user.
    pub async fn execute(
        &self,
        cause: &Cause,
        id: UserId,
        command: &Command,
        if_match: Option<u64>,
    ) -> Result<UserState, CommandError> {
        for _ in 0..ATTEMPTS {
            let loaded = self.load(id).await?;
            if let Some(expected) =
                if_match.filter(|expected| *expected != loaded.version && loaded.version > 0)
            {
                return Err(CommandError::VersionMismatch { expected, actual: loaded.version });
            }
            match self.decide_and_append(cause, id, &loaded, std::slice::from_ref(command), None).await {
                Err(CommandError::Append(AppendError::Conflict { .. })) => {}
                done => return done,
            }
        }
        Err(CommandError::Contended)
    }

    /// A user as the log has them now, however far the projections are; `None` if there is no such user.
    ///
    /// # Errors
    /// [`CommandError`] if the history cannot be read.
    pub async fn state(&self, id: UserId) -> Result<Option<UserState>, CommandError> {
        let Loaded { user, version, created_at } = self.load(id).await?;
        Ok(match (user, created_at) {
            (User::Present(account), Some(created_at)) => {
                Some(UserState { id, account, created_at, version, position: None })
            }
            _ => None,
        })
    }

    /// A user as an earlier command left them.
    ///
    /// # Errors
    /// [`CommandError`] if the history cannot be read.
    pub async fn state_after(&self, first: &FirstResult) -> Result<UserState, CommandError> {
        let lost =
            || StoreError::corrupt(format!("{} is not in the log as its first result says", first.stream));
        let id = UserId::from_stream(first.stream.as_str()).ok_or_else(lost)?;
        let Loaded { user, version, created_at } = self.load_until(id, first.version).await?;
        let (User::Present(account), Some(created_at)) = (user, created_at) else {
            return Err(lost().into());
        };
        Ok(UserState { id, account, created_at, version, position: Some(first.position) })
    }

    /// Whether the installation has an active administrator.
    ///
    /// # Errors
    /// [`CommandError`] if the history cannot be read.
    pub async fn has_administrator(&self) -> Result<bool, CommandError> {
        let (system, _) = self.load_system().await?;
        Ok(!system.administrators.is_empty())
    }

    /// Carries out commands one after the other, in one append. `system` is the state of the installation that the
    /// caller has judged by already; without one it is read if it matters.
    async fn decide_and_append(
        &self,
        cause: &Cause,
        id: UserId,
        loaded: &Loaded,
        commands: &[Command],
        system: Option<(System, u64)>,
    ) -> Result<UserState, CommandError> {
        let (after, events) = decide(&loaded.user, commands)?;
        let User::Present(account) = &after else { return Err(domain::Refusal::Unknown.into()) };
        let mut state = UserState {
            id,
            account: account.clone(),
            created_at: loaded.created_at.unwrap_or_else(|| self.ambient.now()),
            version: loaded.version,
            position: None,
        };
        if events.is_empty() {
            return Ok(state);
        }
        let mut writes = vec![self.user_write(id, loaded.version, &events)?];
        if let Some(change) = administrator_change(id, &loaded.user, &after) {
            let (system, version) = match system {
                Some(loaded) => loaded,
                None => self.load_system().await?,
            };
            let events = system::decide(&system, change)?;
            if !events.is_empty() {
                writes.push(self.system_write(version, &events)?);
            }
        }
        let Cause { actor, request_id, idempotency } = cause.clone();
        let appended = self.store.append(&Append { actor, request_id, writes, idempotency }).await?;
        state.version = appended.versions.first().copied().unwrap_or(loaded.version);
        state.created_at = loaded.created_at.unwrap_or(appended.at);
        state.position = Some(appended.position);
        Ok(state)
    }

    fn user_write(
        &self,
        id: UserId,
        version: u64,
        events: &[UserEvent],
    ) -> Result<StreamWrite, CommandError> {
        let mut write = self.write(&id.stream(), version, events.iter().map(UserEvent::encode))?;
        let claims = events.iter().flat_map(UserEvent::claims_taken);
        write.take = claims.map(|(kind, value)| Claim { kind: kind.as_str(), value }).collect();
        Ok(write)
    }

    fn system_write(&self, version: u64, events: &[SystemEvent]) -> Result<StreamWrite, CommandError> {
        self.write(SYSTEM_STREAM, version, events.iter().map(SystemEvent::encode))
    }

    fn write(
        &self,
        stream: &str,
        version: u64,
        events: impl Iterator<Item = Encoded>,
    ) -> Result<StreamWrite, CommandError> {
        let events = events.map(|Encoded { event_type, schema, data, personal }| NewEvent {
            id: self.ambient.uuid(),
            event_type: event_type.to_owned(),
            schema,
            data,
            personal,
        });
        Ok(StreamWrite::new(stream_id(stream)?, Expected::version(version), events.collect()))
    }

    async fn load(&self, id: UserId) -> Result<Loaded, CommandError> {
        self.load_until(id, u64::MAX).await
    }

    async fn load_until(&self, id: UserId, version: u64) -> Result<Loaded, CommandError> {
        let events = self.store.read_stream(&stream_id(&id.stream())?).await?;
        let mut loaded = Loaded::absent();
        for event in events.iter().take_while(|event| event.envelope.version <= version) {
            loaded.user = user::evolve(loaded.user, &decode::user_event(event)?);
            loaded.version = event.envelope.version;
            loaded.created_at.get_or_insert(event.envelope.at);
        }
        Ok(loaded)
    }

    async fn load_system(&self) -> Result<(System, u64), CommandError> {
        let events = self.store.read_stream(&stream_id(SYSTEM_STREAM)?).await?;
        let mut system = System::default();
        let mut version = 0;
        for event in &events {
            system = system::evolve(system, &decode::system_event(event)?);
            version = event.envelope.version;
        }
        Ok((system, version))
    }
}

impl Loaded {
    fn absent() -> Self {
        Self { user: User::Absent, version: 0, created_at: None }
    }
}

/// What commands, one after the other, make of a user, and the events that say so.
fn decide(user: &User, commands: &[Command]) -> Result<(User, Vec<UserEvent>), domain::Refusal> {
    let (mut after, mut events) = (user.clone(), Vec::new());
    for command in commands {
        let decided = user::decide(&after, command.clone())?;
        after = decided.iter().fold(after, user::evolve);
        events.extend(decided);
    }
    Ok((after, events))
}

fn stream_id(name: &str) -> Result<StreamId, CommandError> {
    StreamId::new(name).map_err(|error| StoreError::corrupt(error.to_string()).into())
}

//! Commands to users. A command that adds or removes an administrator also appends to the stream `system` at
//! its loaded version: of two administrators who remove each other at once, one conflicts, is decided again
//! and rejected.

use std::collections::BTreeSet;
use std::sync::Arc;

use domain::{
    Account, AdministratorChange, ClaimKind, Erasable, Principal, Role, SYSTEM_STREAM, SessionId, System,
    SystemEvent, User, UserCommand, UserEvent, UserId, WebhookId, WebhookSlot, administrator_change, system,
    user,
};
use jiff::Timestamp;
use store::sessions::KeptSession;
use store::{
    AppendError, Appended, Claim, Corruption, EndSessions, Env, EventStore, IdempotencyKey, Position,
    RecordedResult, Sessions, StoreError, StreamId, StreamWrite,
};

use super::executor::{Decider, Decision, Loaded, execute, load};
use super::owned_webhooks::{NoIndex, WebhookIndex, erase_webhooks, load_owned, no_webhook_left};
use super::{Aggregate, CommandContext, CommandError};
use crate::authority::LoggedRoles;

/// Executes commands to users.
#[derive(Clone)]
pub struct UserCommands {
    pub(super) store: EventStore,
    pub(super) env: Env,
    index: Arc<dyn WebhookIndex>,
    sessions: Option<Sessions>,
}

/// A user folded from the event stream, independent of any read model.
#[derive(Clone, Debug)]
pub struct UserState {
    pub id: UserId,
    /// Right after an erasure, without its personal values.
    pub account: Account,
    pub created_at: Timestamp,
    /// The version of the stream.
    pub version: u64,
    /// The position of the last event that the command appended; `None` if it changed nothing.
    pub position: Option<Position>,
}

impl UserCommands {
    #[must_use]
    pub fn new(store: EventStore, env: Env) -> Self {
        Self { store, env, index: Arc::new(NoIndex), sessions: None }
    }

    /// Finds webhooks without a slot in this index.
    #[must_use]
    pub fn with_index(self, index: Arc<dyn WebhookIndex>) -> Self {
        Self { index, ..self }
    }

    /// Looks up here whether a session that is to end is open. Without it, every session counts as open.
    #[must_use]
    pub fn with_sessions(self, sessions: Sessions) -> Self {
        Self { sessions: Some(sessions), ..self }
    }

    /// Executes [`UserCommand::Register`] under a new id. The new user is the actor.
    ///
    /// # Errors
    /// [`store::AppendError::ClaimTaken`] with `email` or `username` if another user holds it.
    pub async fn register(
        &self,
        request_id: &str,
        idempotency: Option<IdempotencyKey>,
        registration: UserCommand,
    ) -> Result<UserState, CommandError> {
        let decider = self.for_new_user(vec![registration]);
        let context = CommandContext { idempotency, ..CommandContext::new(decider.id.stream(), request_id) };
        execute(&self.store, &self.env, &context, &decider).await
    }

    /// Registers a user under a new id on behalf of the actor, and grants the roles in the same append.
    ///
    /// # Errors
    /// As [`UserCommands::register`], and [`CommandError::Unauthorized`] if the actor is a user who is no administrator
    /// according to the log.
    pub async fn create(
        &self,
        context: &CommandContext,
        registration: UserCommand,
        roles: &BTreeSet<Role>,
    ) -> Result<UserState, CommandError> {
        let grants = roles.iter().map(|role| UserCommand::GrantRole { role: *role });
        let decider = self.for_new_user(std::iter::once(registration).chain(grants).collect());
        execute(&self.store, &self.env, context, &decider).await
    }

    /// Registers a user and grants the role of administrator in one append, so that neither a crash nor a
    /// concurrent start leaves half of it. `None`, without an event, if there is an administrator already.
    ///
    /// # Errors
    /// As [`UserCommands::register`].
    pub async fn register_first_administrator(
        &self,
        context: &CommandContext,
        registration: UserCommand,
    ) -> Result<Option<UserState>, CommandError> {
        let commands = vec![registration, UserCommand::GrantRole { role: Role::Admin }];
        let decider = FirstAdministrator(self.for_new_user(commands));
        execute(&self.store, &self.env, context, &decider).await
    }

    /// Executes a command to an existing user.
    ///
    /// # Errors
    /// [`domain::Rejection::Unknown`] or [`domain::Rejection::Erased`] if there is no such user,
    /// [`CommandError::VersionMismatch`] if the condition excludes the current version.
    pub async fn execute(
        &self,
        context: &CommandContext,
        id: UserId,
        command: &UserCommand,
    ) -> Result<UserState, CommandError> {
        let decider = UserDecider {
            is_new: false,
            kept_session: context.kept_session,
            ..self.decider(id, vec![command.clone()])
        };
        execute(&self.store, &self.env, context, &decider).await
    }

    /// The current user according to the log, whatever the projection lag; `None` if unknown or erased.
    ///
    /// # Errors
    /// [`CommandError`] if the stream cannot be read.
    pub async fn state(&self, id: UserId) -> Result<Option<UserState>, CommandError> {
        Ok(present(id, load_user(&self.store, id, u64::MAX).await?, None))
    }

    /// The roles of a user according to the log; none if the user is deactivated or erased.
    ///
    /// # Errors
    /// [`StoreError`] if the stream cannot be read.
    pub async fn roles(&self, id: UserId) -> Result<BTreeSet<Role>, StoreError> {
        Ok(LoggedRoles::read(&self.store, Principal::User(id)).await?.roles)
    }

    /// The user right after an earlier command, for the replayed response to an idempotency key.
    ///
    /// # Errors
    /// [`CommandError`] if the stream cannot be read; [`domain::Rejection::Erased`] if that command was the
    /// erasure.
    pub async fn state_after(&self, first: &RecordedResult) -> Result<UserState, CommandError> {
        let lost = || {
            StoreError::from(Corruption::missing(format!(
                "{}, recorded under an idempotency key,",
                first.stream
            )))
        };
        let id = UserId::from_stream(first.stream.as_str()).ok_or_else(lost)?;
        let loaded = load_user(&self.store, id, first.version).await?;
        if loaded.state == User::Erased {
            return Err(domain::Rejection::Erased.into());
        }
        present(id, loaded, Some(first.position)).ok_or_else(|| lost().into())
    }

    fn for_new_user(&self, commands: Vec<UserCommand>) -> UserDecider {
        self.decider(UserId::from_uuid(self.env.uuid()), commands)
    }

    fn decider(&self, id: UserId, commands: Vec<UserCommand>) -> UserDecider {
        let (index, sessions) = (Arc::clone(&self.index), self.sessions.clone());
        UserDecider { id, is_new: true, commands, index, sessions, kept_session: None }
    }

    /// Whether the installation has an active administrator.
    ///
    /// # Errors
    /// [`CommandError`] if the stream `system` cannot be read.
    pub async fn has_administrator(&self) -> Result<bool, CommandError> {
        Ok(!load_system(&self.store).await?.state.administrators.is_empty())
    }
}

/// Commands to one user, decided in order and appended together.
struct UserDecider {
    id: UserId,
    /// The id was drawn for this command: there is no stream to read.
    is_new: bool,
    commands: Vec<UserCommand>,
    index: Arc<dyn WebhookIndex>,
    sessions: Option<Sessions>,
    /// The session that a change of the password keeps.
    kept_session: Option<SessionId>,
}

/// The stream of the user and what the commands do to it, which determines whether `system` is needed.
struct UserStreams {
    user: Loaded<User>,
    decided: Result<UserDecision, domain::Rejection>,
    /// Loaded if the commands add or remove an administrator.
    system: Option<(AdministratorChange, Loaded<System>)>,
    /// The user's webhooks, loaded if the commands erase the user.
    webhooks: Vec<WebhookId>,
    /// The sessions that end with the events.
    end_sessions: EndSessions,
}

/// The user after all commands, and their events.
struct UserDecision {
    after: User,
    events: Vec<UserEvent>,
}

impl UserDecider {
    fn decide_user(&self, before: &User) -> Result<UserDecision, domain::Rejection> {
        let (mut after, mut events) = (before.clone(), Vec::new());
        for command in &self.commands {
            let decided = user::decide(&after, command.clone())?;
            after = decided.iter().fold(after, user::evolve);
            events.extend(decided);
        }
        Ok(UserDecision { after, events })
    }

    /// The sessions that end with these events, in the same commit.
    async fn ended_sessions(&self, version: u64, events: &[UserEvent]) -> Result<EndSessions, CommandError> {
        if let [UserEvent::PasswordChanged { .. }] = events {
            let kept = self.kept_session(version + 1).await?;
            return Ok(kept.map_or(EndSessions::All, EndSessions::AllBut));
        }
        if events.iter().any(UserEvent::revokes_tokens) {
            return Ok(EndSessions::All);
        }
        let ended = events.iter().find_map(|event| match event {
            UserEvent::SessionRevoked { session, .. } => Some(session.as_uuid()),
            _ => None,
        });
        Ok(ended.map_or(EndSessions::None, EndSessions::One))
    }

    /// The session that a change of the password keeps, as of that version.
    async fn kept_session(&self, version: u64) -> Result<Option<KeptSession>, CommandError> {
        let (Some(sessions), Some(id)) = (&self.sessions, self.kept_session) else { return Ok(None) };
        Ok(sessions.keep(&StreamId::from_trusted(self.id.stream())?, id.as_uuid(), version).await?)
    }

    /// Whether the commands end a session that is not open, or not the user's. There is nothing to end then.
    async fn is_session_ended(&self) -> Result<bool, StoreError> {
        let Some(sessions) = &self.sessions else { return Ok(false) };
        for command in &self.commands {
            if let UserCommand::RevokeSession { session, .. } = command {
                let open = sessions.find(session.as_uuid()).await?;
                return Ok(open.is_none_or(|open| open.stream.as_str() != self.id.stream()));
            }
        }
        Ok(false)
    }
}

impl Decider for UserDecider {
    type State = UserStreams;
    type Output = UserState;

    fn aggregate(&self) -> Aggregate {
        Aggregate::User(self.id)
    }

    fn command(&self) -> &'static str {
        self.commands.first().map_or("", |command| match command {
            UserCommand::Register { .. } => "register",
            UserCommand::Import { .. } => "import",
            UserCommand::Deactivate { .. } => "deactivate",
            UserCommand::Reactivate { .. } => "reactivate",
            UserCommand::GrantRole { .. } => "grant_role",
            UserCommand::RevokeRole { .. } => "revoke_role",
            UserCommand::Lock => "lock",
            UserCommand::Unlock => "unlock",
            UserCommand::RehashPassword { .. } => "rehash_password",
            UserCommand::ChangeIdentity { .. } => "change_identity",
            UserCommand::ChangePassword { .. } => "change_password",
            UserCommand::RevokeTokens { .. } => "revoke_tokens",
            UserCommand::RevokeSession { .. } => "revoke_session",
            UserCommand::RequestEmailVerification => "request_email_verification",
            UserCommand::VerifyEmail { .. } => "verify_email",
            UserCommand::RequestPasswordReset => "request_password_reset",
            UserCommand::ResetPassword { .. } => "reset_password",
            UserCommand::Erase { .. } => "erase",
        })
    }

    async fn load(&self, store: &EventStore) -> Result<UserStreams, CommandError> {
        let user = if self.is_new { Loaded::default() } else { load_user(store, self.id, u64::MAX).await? };
        let mut decided = self.decide_user(&user.state);
        if let Ok(decision) = &mut decided
            && self.is_session_ended().await?
        {
            decision.events.clear();
        }
        let after = decided.as_ref().ok().map(|decided| &decided.after);
        let system = match after.and_then(|after| administrator_change(self.id, &user.state, after)) {
            Some(change) => Some((change, load_system(store).await?)),
            None => None,
        };
        let erases = decided.as_ref().is_ok_and(|decided| decided.events.iter().any(UserEvent::erases));
        let webhooks = if erases { load_owned(store, &self.index, self.id).await?.ids } else { Vec::new() };
        let end_sessions = match &decided {
            Ok(decision) => self.ended_sessions(user.version, &decision.events).await?,
            Err(_) => EndSessions::None,
        };
        Ok(UserStreams { user, decided, system, webhooks, end_sessions })
    }

    fn version(&self, streams: &UserStreams) -> Option<u64> {
        matches!(streams.user.state, User::Present(_)).then_some(streams.user.version)
    }

    fn decide(&self, streams: UserStreams, env: &Env) -> Result<Decision<UserState>, CommandError> {
        let UserStreams { user, decided, system, webhooks, end_sessions } = streams;
        let Loaded { state: before, version, first_event_at } = user;
        let UserDecision { after, events } = decided?;
        let account = remaining_account(&before, after)?;
        let (mut writes, mut guards) = (Vec::new(), Vec::new());
        if !events.is_empty() {
            let write = user_write(env, self.id, version, &events)?;
            writes.push(StreamWrite { end_sessions, ..write });
            if let Some((change, system)) = system {
                writes.extend(system_write(env, system.version, &system::decide(&system.state, change)?)?);
            }
            if events.iter().any(UserEvent::erases) {
                writes.extend(erase_webhooks(env, &webhooks)?);
                guards.extend(no_webhook_left(self.id));
            }
        }
        let created_at = event_codec::registered_at(&account, first_event_at.unwrap_or_else(|| env.now()));
        Ok(Decision {
            writes,
            guards,
            output: UserState { id: self.id, account, created_at, version, position: None },
        })
    }

    /// Since they were loaded, a webhook of the user to erase was registered or deleted.
    fn is_outdated(&self, error: &AppendError) -> bool {
        match error {
            AppendError::ClaimTaken { kind } => *kind == WebhookSlot::CLAIM_KIND,
            AppendError::Erased { stream } => WebhookId::from_stream(stream.as_str()).is_some(),
            _ => false,
        }
    }

    fn complete(output: &mut UserState, appended: &Appended) {
        if output.version == 0 {
            output.created_at = event_codec::registered_at(&output.account, appended.at);
        }
        output.version = appended.versions.first().copied().unwrap_or(output.version);
        output.position = Some(appended.position);
    }
}

/// A registration that only happens while there is no administrator.
struct FirstAdministrator(UserDecider);

impl Decider for FirstAdministrator {
    type State = UserStreams;
    type Output = Option<UserState>;

    fn aggregate(&self) -> Aggregate {
        self.0.aggregate()
    }

    fn command(&self) -> &'static str {
        "register_first_administrator"
    }

    async fn load(&self, store: &EventStore) -> Result<UserStreams, CommandError> {
        self.0.load(store).await
    }

    fn decide(&self, streams: UserStreams, env: &Env) -> Result<Decision<Option<UserState>>, CommandError> {
        if streams.system.as_ref().is_some_and(|(_, system)| !system.state.administrators.is_empty()) {
            return Ok(Decision { writes: Vec::new(), guards: Vec::new(), output: None });
        }
        let Decision { writes, guards, output } = self.0.decide(streams, env)?;
        Ok(Decision { writes, guards, output: Some(output) })
    }

    fn complete(output: &mut Option<UserState>, appended: &Appended) {
        if let Some(state) = output {
            UserDecider::complete(state, appended);
        }
    }
}

async fn load_user(store: &EventStore, id: UserId, max_version: u64) -> Result<Loaded<User>, CommandError> {
    load(store, &id.stream(), max_version, |user, event| {
        Ok(user::evolve(user, &event_codec::decode_user_event(event)?))
    })
    .await
}

/// A write that appends the events to the stream of a user, which is at that version.
pub(super) fn user_write(
    env: &Env,
    id: UserId,
    version: u64,
    events: &[UserEvent],
) -> Result<StreamWrite, CommandError> {
    let encoded = events.iter().map(UserEvent::encode);
    let mut write = event_codec::stream_write(env, &id.stream(), version, encoded)?;
    write.release = events.iter().flat_map(event_codec::claims_released).collect();
    for event in events {
        let (if_free, taken) = event_codec::claims_taken(event).partition(|claim| is_optional(event, claim));
        write.take.extend::<Vec<_>>(taken);
        write.take_if_free.extend::<Vec<_>>(if_free);
    }
    write.erase = events.iter().any(UserEvent::erases);
    Ok(write)
}

/// Whether the event is appended even if another user holds the claim: imported users keep their usernames, although
/// others may look like them.
fn is_optional(event: &UserEvent, claim: &Claim) -> bool {
    matches!(event, UserEvent::UserImported { .. }) && claim.kind == ClaimKind::UsernameSkeleton.as_str()
}

pub(super) async fn load_system(store: &EventStore) -> Result<Loaded<System>, CommandError> {
    let evolve = |system, event: &_| Ok(system::evolve(system, &event_codec::decode_system_event(event)?));
    load(store, SYSTEM_STREAM, u64::MAX, evolve).await
}

pub(super) fn system_write(
    env: &Env,
    version: u64,
    events: &[SystemEvent],
) -> Result<Option<StreamWrite>, CommandError> {
    let write = event_codec::system_write(env, version, events)?;
    Ok((!events.is_empty()).then_some(write))
}

/// `None` if the user does not exist or was erased.
pub(super) fn present(id: UserId, loaded: Loaded<User>, position: Option<Position>) -> Option<UserState> {
    let Loaded { state: User::Present(account), version, first_event_at: Some(first) } = loaded else {
        return None;
    };
    let created_at = event_codec::registered_at(&account, first);
    Some(UserState { id, account, created_at, version, position })
}

/// The account after a command: of an erased one, what was never personal.
fn remaining_account(before: &User, after: User) -> Result<Account, domain::Rejection> {
    match (before, after) {
        (_, User::Present(account)) => Ok(account),
        (User::Present(account), User::Erased) => Ok(Account {
            email: Erasable::Erased,
            username: Erasable::Erased,
            password_hash: account.password_hash.as_ref().map(|_| Erasable::Erased),
            is_active: false,
            ..account.clone()
        }),
        (User::Absent | User::Erased, User::Erased) => Err(domain::Rejection::Erased),
        (_, User::Absent) => Err(domain::Rejection::Unknown),
    }
}

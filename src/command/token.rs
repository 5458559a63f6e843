//! Commands to machine tokens.

use std::collections::{BTreeSet, HashMap};
use std::sync::{Arc, Mutex, PoisonError};

use domain::token::{decide, evolve};
use domain::{
    ActiveToken, Moment, Role, Token, TokenCommand, TokenEvent, TokenId, TokenName, TokenRejection,
};
use jiff::Timestamp;
use jiff::civil::Date;
use jiff::tz::TimeZone;
use store::{
    Appended, Corruption, Env, EventQuery, EventStore, PersonalData, Position, RecordedResult, StoreError,
    StoredEvent, StreamId,
};

use super::executor::{Decider, Decision, execute};
use super::{Aggregate, CommandContext, CommandError, MachineToken};

/// Executes commands to machine tokens, and authenticates their bearers. What is valid is read from the log.
#[derive(Clone)]
pub struct TokenCommands {
    store: EventStore,
    env: Env,
    /// The day on which this node last recorded the use of a token.
    uses: Arc<Mutex<HashMap<TokenId, Date>>>,
}

/// What a new token is issued with.
#[derive(Clone, Debug)]
pub struct NewToken {
    pub name: TokenName,
    pub roles: BTreeSet<Role>,
    /// `None` if it does not expire.
    pub expires_at: Option<Moment>,
}

/// A machine token folded from its stream.
#[derive(Clone)]
pub struct TokenState {
    pub id: TokenId,
    pub issued: ActiveToken,
    pub issued_at: Timestamp,
    pub issued_by: String,
    /// The day of the latest use, in UTC.
    pub last_used_on: Option<Date>,
    pub revoked_at: Option<Timestamp>,
    /// The version of the stream before the command.
    version: u64,
    /// The position of the event that the command appended; `None` if it changed nothing.
    pub position: Option<Position>,
    /// Only right after its issue: the token with its secret.
    pub bearer: Option<MachineToken>,
}

/// The answer to a bearer who presents a machine token.
pub enum Authentication {
    Valid(Box<TokenState>),
    Revoked,
    /// Malformed, unknown, expired, or with another secret. Clients do not learn which.
    Invalid,
}

impl TokenCommands {
    #[must_use]
    pub fn new(store: EventStore, env: Env) -> Self {
        Self { store, env, uses: Arc::default() }
    }

    /// Issues a token under a new id.
    ///
    /// # Errors
    /// [`CommandError::Unauthorized`] if the actor is no administrator according to the log.
    pub async fn issue(&self, context: &CommandContext, new: NewToken) -> Result<TokenState, CommandError> {
        let bearer = MachineToken::generate(&self.env);
        let NewToken { name, roles, expires_at } = new;
        let secret_hash = bearer.secret_hash(&self.store);
        let command = TokenCommand::Issue { name, roles, expires_at, secret_hash };
        let issued = self.execute(context, bearer.id, command).await?;
        Ok(TokenState { bearer: Some(bearer), ..issued })
    }

    /// Revokes a token. A repetition changes nothing.
    ///
    /// # Errors
    /// [`TokenRejection::Unknown`] if no token was issued under this id, [`CommandError::Unauthorized`] as for
    /// [`TokenCommands::issue`].
    pub async fn revoke(&self, context: &CommandContext, id: TokenId) -> Result<TokenState, CommandError> {
        self.execute(context, id, TokenCommand::Revoke).await
    }

    /// Whether this node recorded a use of the token today.
    #[must_use]
    pub fn is_use_recorded(&self, id: TokenId) -> bool {
        self.lock_uses().get(&id) == Some(&day(self.store.clock().now()))
    }

    /// Records that a token was used today, unless this node or, according to the log, another one has. Returns
    /// whether it was recorded.
    ///
    /// # Errors
    /// [`CommandError`] if the event cannot be appended.
    pub async fn record_use(&self, request_id: &str, id: TokenId) -> Result<bool, CommandError> {
        let today = day(self.store.clock().now());
        if self.lock_uses().insert(id, today) == Some(today) {
            return Ok(false);
        }
        let context = CommandContext::new(id.stream(), request_id);
        let recorded = self.execute(&context, id, TokenCommand::RecordUse { is_recorded: false }).await;
        if recorded.is_err() {
            self.lock_uses().remove(&id);
        }
        Ok(recorded?.position.is_some())
    }

    /// Authenticates the bearer of a machine token. Its stream is read, so that a revocation takes effect at once on
    /// every node.
    ///
    /// # Errors
    /// [`StoreError`] if the log cannot be read, or it is not certain that the newest events were read.
    pub async fn authenticate(&self, presented: &str) -> Result<Authentication, CommandError> {
        let Some(presented) = MachineToken::parse(presented) else { return Ok(Authentication::Invalid) };
        let stream = StreamId::from_trusted(presented.id.stream())?;
        let Some(loaded) = fold(&self.read_newest(&stream).await?, u64::MAX)? else {
            return Ok(Authentication::Invalid);
        };
        let has_secret = |token: &ActiveToken| {
            token.secret_hash.known().is_some_and(|hash| presented.has_secret(hash, &self.store))
        };
        if !loaded.token.issued().is_some_and(has_secret) {
            return Ok(Authentication::Invalid);
        }
        if matches!(loaded.token, Token::Revoked(_)) {
            return Ok(Authentication::Revoked);
        }
        let is_valid = now(&self.env).is_some_and(|now| loaded.token.valid_at(now).is_some());
        let state = loaded.into_state(presented.id).filter(|_| is_valid);
        Ok(state.map_or(Authentication::Invalid, |state| Authentication::Valid(Box::new(state))))
    }

    /// At most `limit` tokens that were issued after that position, in the order of their issue, and the position of
    /// the last of them if there may be more.
    ///
    /// # Errors
    /// [`CommandError`] if the log cannot be read.
    pub async fn page(
        &self,
        after: Position,
        limit: usize,
    ) -> Result<(Vec<TokenState>, Option<Position>), CommandError> {
        let types = vec![TokenEvent::ISSUED.to_owned()];
        let query = EventQuery { after, limit: limit.saturating_add(1), types, ..EventQuery::default() };
        let mut issued = self.store.read_sealed(&query).await?;
        let is_last = issued.len() <= limit;
        issued.truncate(limit);
        let next = issued.last().filter(|_| !is_last).map(|event| event.position);
        let mut tokens = Vec::with_capacity(issued.len());
        for event in issued {
            let Some(id) = TokenId::from_stream(event.stream.as_str()) else { continue };
            let sealed = self.store.read_stream_sealed(&event.stream).await?.into_iter();
            let events: Vec<_> = sealed.map(without_secret).collect();
            tokens.extend(fold(&events, u64::MAX)?.and_then(|loaded| loaded.into_state(id)));
        }
        Ok((tokens, next))
    }

    /// The token right after an earlier command, without its secret, for the replayed response to an idempotency
    /// key.
    ///
    /// # Errors
    /// [`CommandError`] if the stream cannot be read.
    pub async fn state_after(&self, first: &RecordedResult) -> Result<TokenState, CommandError> {
        let events = self.store.read_stream_sealed(&first.stream).await?;
        let events: Vec<_> = events.into_iter().map(without_secret).collect();
        let id = TokenId::from_stream(first.stream.as_str());
        let state = id.zip(fold(&events, first.version)?).and_then(|(id, loaded)| loaded.into_state(id));
        let lost = || {
            let what = format!("{}, recorded under an idempotency key,", first.stream);
            CommandError::from(StoreError::from(Corruption::missing(what)))
        };
        Ok(TokenState { position: Some(first.position), ..state.ok_or_else(lost)? })
    }

    async fn execute(
        &self,
        context: &CommandContext,
        id: TokenId,
        command: TokenCommand,
    ) -> Result<TokenState, CommandError> {
        let today = day(self.store.clock().now());
        let decider = TokenDecider { id, command, today, actor: context.actor.clone() };
        execute(&self.store, &self.env, context, &decider).await
    }

    /// The stream, of which no deposed primary has left out the newest events.
    async fn read_newest(&self, stream: &StreamId) -> Result<Vec<StoredEvent>, StoreError> {
        self.store.read_confirmed("a machine token", || self.store.read_stream(stream)).await
    }

    fn lock_uses(&self) -> std::sync::MutexGuard<'_, HashMap<TokenId, Date>> {
        self.uses.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A folded stream, with what only the envelopes say.
#[derive(Clone)]
pub(super) struct LoadedToken {
    token: Token,
    version: u64,
    issued_at: Timestamp,
    issued_by: String,
    last_used_on: Option<Date>,
    revoked_at: Option<Timestamp>,
}

impl LoadedToken {
    fn into_state(self, id: TokenId) -> Option<TokenState> {
        let Self { token, version, issued_at, issued_by, last_used_on, revoked_at } = self;
        let issued = token.issued().cloned()?;
        Some(TokenState {
            id,
            issued,
            issued_at,
            issued_by,
            last_used_on,
            revoked_at,
            version,
            position: None,
            bearer: None,
        })
    }
}

/// Folds a stream up to a version; `None` if it is empty.
fn fold(events: &[StoredEvent], max_version: u64) -> Result<Option<LoadedToken>, CommandError> {
    let mut loaded: Option<LoadedToken> = None;
    for event in events.iter().take_while(|event| event.envelope.version <= max_version) {
        let envelope = &event.envelope;
        let decoded = event_codec::decode_token_event(event)?;
        let mut before = loaded.take().unwrap_or_else(|| LoadedToken {
            token: Token::default(),
            version: 0,
            issued_at: envelope.at,
            issued_by: envelope.actor.clone(),
            last_used_on: None,
            revoked_at: None,
        });
        match decoded {
            TokenEvent::TokenIssued { .. } => {}
            TokenEvent::TokenUsed => before.last_used_on = Some(day(envelope.at)),
            TokenEvent::TokenRevoked => before.revoked_at = Some(envelope.at),
        }
        let (token, version) = (evolve(before.token, &decoded), envelope.version);
        loaded = Some(LoadedToken { token, version, ..before });
    }
    Ok(loaded)
}

fn without_secret(envelope: store::Envelope) -> StoredEvent {
    StoredEvent { envelope, personal: PersonalData::Erased }
}

fn day(at: Timestamp) -> Date {
    at.to_zoned(TimeZone::UTC).date()
}

fn now(env: &Env) -> Option<Moment> {
    Moment::from_millisecond(env.now().as_millisecond()).ok()
}

struct TokenDecider {
    id: TokenId,
    command: TokenCommand,
    today: Date,
    actor: String,
}

impl Decider for TokenDecider {
    type State = Option<LoadedToken>;
    type Output = TokenState;

    fn aggregate(&self) -> Aggregate {
        Aggregate::Token(self.id)
    }

    fn command(&self) -> &'static str {
        match self.command {
            TokenCommand::Issue { .. } => "issue_token",
            TokenCommand::RecordUse { .. } => "record_token_use",
            TokenCommand::Revoke => "revoke_token",
        }
    }

    async fn load(&self, store: &EventStore) -> Result<Option<LoadedToken>, CommandError> {
        if matches!(self.command, TokenCommand::Issue { .. }) {
            // The id was drawn for this command: there is no stream to read.
            return Ok(None);
        }
        let events = store.read_stream_sealed(&StreamId::from_trusted(self.id.stream())?).await?;
        fold(&events.into_iter().map(without_secret).collect::<Vec<_>>(), u64::MAX)
    }

    fn decide(&self, loaded: Option<LoadedToken>, env: &Env) -> Result<Decision<TokenState>, CommandError> {
        let mut loaded = loaded.unwrap_or_else(|| LoadedToken {
            token: Token::default(),
            version: 0,
            issued_at: env.now(),
            issued_by: self.actor.clone(),
            last_used_on: None,
            revoked_at: None,
        });
        let command = match self.command.clone() {
            TokenCommand::RecordUse { .. } => {
                TokenCommand::RecordUse { is_recorded: loaded.last_used_on == Some(self.today) }
            }
            command @ (TokenCommand::Issue { .. } | TokenCommand::Revoke) => command,
        };
        let mut writes = Vec::new();
        if let Some(event) = decide(&loaded.token, command)? {
            let stream = self.id.stream();
            writes.push(event_codec::stream_write(env, &stream, loaded.version, [event.encode()])?);
            if matches!(event, TokenEvent::TokenRevoked) {
                loaded.revoked_at = Some(env.now());
            }
            loaded.token = evolve(loaded.token, &event);
        }
        let output = loaded.into_state(self.id).ok_or(TokenRejection::Unknown)?;
        Ok(Decision { writes, guards: Vec::new(), output })
    }

    fn complete(output: &mut TokenState, appended: &Appended) {
        output.position = Some(appended.position);
        if output.version == 0 {
            output.issued_at = appended.at;
        }
        // No event follows a revocation, so this was it.
        output.revoked_at = output.revoked_at.map(|_| appended.at);
    }
}

//! The command executor: loads the streams a decision depends on, decides, appends at the loaded versions
//! (optimistic concurrency) and starts over on a conflict with another writer. The decision belongs in a
//! [`Decider`], one per aggregate.

use domain::{DecodeError, Principal, Role, UserId, WebhookId, required_roles};
use jiff::Timestamp;
use serde_json::{Map, Value};
use store::{Append, AppendError, Appended, Env, EventStore, Guard, StoredEvent, StreamId, StreamWrite};

use super::{Aggregate, CommandContext, CommandError};
use crate::authority::LoggedRoles;

/// How often a command is decided before its aggregate counts as contended.
const MAX_ATTEMPTS: usize = 8;

/// A command bound to the aggregate it is for.
pub(super) trait Decider: Sync {
    /// The folded streams that the decision depends on.
    type State: Send;
    /// The answer to the command.
    type Output: Send;

    fn aggregate(&self) -> Aggregate;

    /// The name of the command, for spans.
    fn command(&self) -> &'static str;

    fn load(&self, store: &EventStore) -> impl Future<Output = Result<Self::State, CommandError>> + Send;

    /// The version of the aggregate, which the condition of the command is compared with; `None` if the command
    /// creates it, or it does not exist.
    fn version(&self, _: &Self::State) -> Option<u64> {
        None
    }

    fn decide(&self, state: Self::State, env: &Env) -> Result<Decision<Self::Output>, CommandError>;

    /// Whether the append failed because what was loaded has changed since, beside a conflict of versions:
    /// then the command is decided again.
    fn is_outdated(&self, _: &AppendError) -> bool {
        false
    }

    /// Completes the answer with what only the append knows: position, version and time.
    fn complete(output: &mut Self::Output, appended: &Appended);
}

/// The outcome of [`Decider::decide`].
pub(super) struct Decision<O> {
    /// Empty if the command changes nothing.
    pub(super) writes: Vec<StreamWrite>,
    /// What must hold at the commit besides the versions of the writes.
    pub(super) guards: Vec<Guard>,
    pub(super) output: O,
}

/// Executes a command.
///
/// # Errors
/// [`CommandError::VersionMismatch`] if the condition excludes the current version, the rejection of the decider,
/// [`CommandError::Contended`] after [`MAX_ATTEMPTS`] conflicts, and errors of
/// the store.
#[tracing::instrument(
    name = "command",
    skip_all,
    fields(
        request_id = context.request_id,
        actor = context.actor_kind(),
        command = decider.command(),
        aggregate = %decider.aggregate(),
    )
)]
pub(super) async fn execute<D: Decider>(
    store: &EventStore,
    env: &Env,
    context: &CommandContext,
    decider: &D,
) -> Result<D::Output, CommandError> {
    for _ in 0..MAX_ATTEMPTS {
        let state = decider.load(store).await?;
        if let Some(actual) = decider.version(&state).filter(|version| !context.condition.permits(*version)) {
            return Err(CommandError::VersionMismatch { aggregate: decider.aggregate(), actual });
        }
        let Decision { writes, guards, mut output } = decider.decide(state, env)?;
        if writes.is_empty() {
            return Ok(output);
        }
        let guards = guards.into_iter().chain(authorize(store, &context.actor, &writes).await?).collect();
        let CommandContext { actor, request_id, idempotency, .. } = context.clone();
        match store.append(&Append { actor, request_id, writes, guards, idempotency }).await {
            Ok(appended) => {
                D::complete(&mut output, &appended);
                return Ok(output);
            }
            Err(AppendError::Conflict { stream, actual, .. }) => {
                tracing::debug!(%stream, actual, "conflict with another writer; deciding again");
            }
            Err(error) if decider.is_outdated(&error) => {
                tracing::debug!(%error, "outdated by another writer; deciding again");
            }
            Err(error) => return Err(error.into()),
        }
    }
    Err(CommandError::Contended(decider.aggregate()))
}

/// Checks that the actor may append these events according to the log, whatever the read models say. The
/// answer holds at the commit: the stream of the actor must then be at the version that was read.
async fn authorize(
    store: &EventStore,
    actor: &str,
    writes: &[StreamWrite],
) -> Result<Option<Guard>, CommandError> {
    let Some(principal) = Principal::from_actor(actor) else { return Ok(None) };
    let mut required = Vec::new();
    for write in writes {
        let owner = webhook_owner(store, write).await?;
        for event in &write.events {
            let roles = required_roles(principal, write.stream.as_str(), &event.event_type, owner);
            required.extend((!roles.is_empty()).then_some((roles, &write.stream, &event.event_type)));
        }
    }
    if required.is_empty() {
        return Ok(None);
    }
    let LoggedRoles { roles: held, version } = LoggedRoles::read(store, principal).await?;
    let is_lacking =
        |(roles, ..): &&(&[Role], &StreamId, &String)| !roles.iter().any(|role| held.contains(role));
    if let Some((_, stream, event_type)) = required.iter().find(is_lacking) {
        tracing::warn!(%stream, event_type, "rejected a command whose actor lacks the role according to the log");
        return Err(CommandError::Unauthorized {
            actor: actor.to_owned(),
            stream: (*stream).clone(),
            event_type: (*event_type).clone(),
        });
    }
    // A write to the stream of the actor itself expects its version anyway.
    let is_written = writes.iter().any(|write| write.stream.as_str() == actor);
    let guard = Guard::AtVersion(StreamId::from_trusted(actor)?, version);
    Ok((!is_written).then_some(guard))
}

/// The owner of the webhook that is written to, if one is.
async fn webhook_owner(store: &EventStore, write: &StreamWrite) -> Result<Option<UserId>, CommandError> {
    if WebhookId::from_stream(write.stream.as_str()).is_none() {
        return Ok(None);
    }
    let owner = |data: &Map<String, Value>| UserId::parse(data.get("owner")?.as_str()?).ok();
    if let Some(new) = write.events.iter().find_map(|event| owner(&event.data)) {
        return Ok(Some(new));
    }
    let registered = store.read_stream_sealed(&write.stream).await?;
    Ok(registered.first().and_then(|event| owner(&event.data)))
}

/// A folded stream.
#[derive(Clone, Default)]
pub(super) struct Loaded<S> {
    pub(super) state: S,
    /// Zero if the stream does not exist.
    pub(super) version: u64,
    pub(super) first_event_at: Option<Timestamp>,
}

/// Reads and folds a stream up to a version.
pub(super) async fn load<S: Default>(
    store: &EventStore,
    stream: &str,
    max_version: u64,
    evolve: impl FnMut(S, &StoredEvent) -> Result<S, DecodeError> + Send,
) -> Result<Loaded<S>, CommandError> {
    fold(&store.read_stream(&StreamId::from_trusted(stream)?).await?, max_version, evolve)
}

/// Folds the events of a stream up to a version.
pub(super) fn fold<S: Default>(
    events: &[StoredEvent],
    max_version: u64,
    mut evolve: impl FnMut(S, &StoredEvent) -> Result<S, DecodeError>,
) -> Result<Loaded<S>, CommandError> {
    let mut loaded = Loaded::default();
    for event in events.iter().take_while(|event| event.envelope.version <= max_version) {
        loaded.state = evolve(std::mem::take(&mut loaded.state), event)?;
        loaded.version = event.envelope.version;
        loaded.first_event_at.get_or_insert(event.envelope.at);
    }
    Ok(loaded)
}

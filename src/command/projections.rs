//! The one command to a projection that is an event: to go on without an event that it cannot take in.

use domain::{Skip, SystemEvent, system};
use projections::{PoisonEvent, Projection, ProjectionContext, decode};
use store::{Append, AppendError, Env, EventQuery, Position, StoredEvent};

use super::loaded::{fold_system, read_system};
use super::writing::system_write;
use super::{CommandContext, CommandError};

/// How often somebody else may be quicker on the stream.
const ATTEMPTS: u32 = 8;

/// Why there is nothing to skip.
#[derive(Debug, thiserror::Error)]
pub enum SkipError {
    /// The log has no such event.
    #[error("there is no event at position {0}: the log ends at {1}")]
    NoEvent(Position, Position),
    /// It is no event of this projection, or one that it takes in.
    #[error("`{1}` can take in the event at position {0}: there is nothing to skip")]
    NotPoison(Position, &'static str),
    /// The decision could not be recorded.
    #[error(transparent)]
    Command(#[from] CommandError),
}

/// The recorded decision to go on without an event.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RecordedSkip {
    /// The position of the event that says so.
    pub position: Position,
    /// Whether it was taken before.
    pub already_recorded: bool,
}

/// Records the decision, unless it was taken before.
///
/// # Errors
/// [`SkipError`].
pub async fn skip(
    projection: &'static dyn Projection,
    sources: &ProjectionContext,
    env: &Env,
    context: &CommandContext,
    skip: Skip,
) -> Result<RecordedSkip, SkipError> {
    check(projection, sources, Position::new(skip.position)).await?;
    let mut attempt = 1;
    loop {
        let events = read_system(&sources.events).await?;
        let (installation, version) = fold_system(&events)?;
        let decided = system::decide_skip(&installation, skip.clone());
        if decided.is_empty() {
            let decision = events.iter().rfind(|event| is_decision(event, &skip));
            let position = decision.map(|event| event.envelope.position).unwrap_or_default();
            return Ok(RecordedSkip { position, already_recorded: true });
        }
        let writes = vec![system_write(env, version, &decided)?];
        let CommandContext { actor, request_id, idempotency } = context.clone();
        match sources.events.append(&Append { actor, request_id, writes, idempotency }).await {
            Ok(appended) => return Ok(RecordedSkip { position: appended.position, already_recorded: false }),
            Err(AppendError::Conflict { .. }) if attempt < ATTEMPTS => attempt += 1,
            Err(error) => return Err(CommandError::from(error).into()),
        }
    }
}

fn is_decision(event: &StoredEvent, skip: &Skip) -> bool {
    matches!(decode::system_event(event), Ok(SystemEvent::ProjectionEventSkipped { projection, position, .. })
        if projection == skip.projection && position == skip.position)
}

/// Only what cannot be taken in can be skipped: the row as it is read now decides.
async fn check(
    projection: &'static dyn Projection,
    sources: &ProjectionContext,
    position: Position,
) -> Result<(), SkipError> {
    match poison(projection, sources, position).await? {
        Some(_) => Ok(()),
        None => Err(SkipError::NotPoison(position, projection.name())),
    }
}

async fn poison(
    projection: &'static dyn Projection,
    sources: &ProjectionContext,
    position: Position,
) -> Result<Option<PoisonEvent>, SkipError> {
    let found = sources.events.read(&EventQuery::at(position)).await.map_err(CommandError::from)?;
    let Some(event) = found.first().filter(|event| event.envelope.position == position) else {
        let head = sources.events.head().await.map_err(CommandError::from)?.position;
        return Err(SkipError::NoEvent(position, head));
    };
    let Some(key) = projection.key(&event.envelope) else { return Ok(None) };
    let live = sources.rows.versions(projection.name()).await.map_err(CommandError::from)?;
    let table = projection.table(live.map_or(1, |versions| versions.live));
    let rows = sources.rows.rows(&table, std::slice::from_ref(&key)).await;
    let row = rows.map_err(CommandError::from)?.remove(&key);
    Ok(projection.fold(row, event).err())
}

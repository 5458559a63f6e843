//! The command that records the decision to skip a poison event of a projection.

use domain::{SYSTEM_STREAM, Skip, System, SystemEvent, system};
use projections::{PoisonEvent, Projection, ProjectionContext};
use store::{Appended, Env, EventQuery, EventStore, Position};

use super::executor::{Decider, Decision, Loaded, execute, load};
use super::{Aggregate, CommandContext, CommandError};

/// Why no skip was recorded.
#[derive(Debug, thiserror::Error)]
pub enum SkipError {
    #[error("there is no event at position {0}: the log ends at {1}")]
    NoEvent(Position, Position),
    #[error("`{1}` can apply the event at position {0}: there is nothing to skip")]
    NotPoison(Position, &'static str),
    #[error(transparent)]
    Command(#[from] CommandError),
}

/// The recorded decision to skip an event.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RecordedSkip {
    /// The position of the event that records the decision, not of the skipped one.
    pub position: Position,
    /// Whether an earlier command recorded it.
    pub already_recorded: bool,
}

/// Records the decision to skip an event that the projection cannot apply.
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
    let position = Position::new(skip.position);
    if poison_event(projection, sources, position).await?.is_none() {
        return Err(SkipError::NotPoison(position, projection.name()));
    }
    Ok(execute(&sources.events, env, context, &SkipDecider(skip)).await?)
}

struct SkipDecider(Skip);

/// The stream `system`, and where it records the skip already.
type SystemState = (System, Option<Position>);

impl Decider for SkipDecider {
    type State = Loaded<SystemState>;
    type Output = RecordedSkip;

    fn aggregate(&self) -> Aggregate {
        Aggregate::System
    }

    fn command(&self) -> &'static str {
        "skip_event"
    }

    async fn load(&self, store: &EventStore) -> Result<Loaded<SystemState>, CommandError> {
        load(store, SYSTEM_STREAM, u64::MAX, |(system, recorded), event| {
            let decoded = event_codec::decode_system_event(event)?;
            let is_same = matches!(&decoded, SystemEvent::ProjectionEventSkipped { projection, position, .. }
                if *projection == self.0.projection && *position == self.0.position);
            let recorded = if is_same { Some(event.envelope.position) } else { recorded };
            Ok((system::evolve(system, &decoded), recorded))
        })
        .await
    }

    fn decide(&self, loaded: Loaded<SystemState>, env: &Env) -> Result<Decision<RecordedSkip>, CommandError> {
        let (system, recorded) = loaded.state;
        let events = system::decide_skip(&system, self.0.clone());
        if events.is_empty() {
            let output = RecordedSkip { position: recorded.unwrap_or_default(), already_recorded: true };
            return Ok(Decision { writes: Vec::new(), guards: Vec::new(), output });
        }
        let writes = vec![event_codec::system_write(env, loaded.version, &events)?];
        let output = RecordedSkip { position: Position::START, already_recorded: false };
        Ok(Decision { writes, guards: Vec::new(), output })
    }

    fn complete(output: &mut RecordedSkip, appended: &Appended) {
        output.position = appended.position;
    }
}

/// The event at that position if the projection cannot apply it to the current row of the live table.
async fn poison_event(
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
    let table = projection.live_table(live.as_ref());
    let rows = sources.rows.rows(&table, std::slice::from_ref(&key)).await;
    let row = rows.map_err(CommandError::from)?.remove(&key);
    Ok(projection.fold(row, event).err())
}

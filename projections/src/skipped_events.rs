//! What operators have decided to skip: recorded as events in the stream `system`, and asked for only when an
//! event cannot be taken in. A program that can take it in does so, whatever was decided before.

use std::collections::BTreeSet;

use domain::{SYSTEM_STREAM, System, system};
use store::{EventStore, Position, StoreError, StreamId};

/// The positions that this projection passes over.
pub(crate) async fn load(events: &EventStore, projection: &str) -> Result<BTreeSet<Position>, StoreError> {
    let stream = StreamId::from_trusted(SYSTEM_STREAM)?;
    let decided = events.read_stream(&stream).await?;
    // What this program does not know of the installation is no decision to skip.
    let decided = decided.iter().filter_map(|event| event_codec::decode_system_event(event).ok());
    let system = decided.fold(System::default(), |system, event| system::evolve(system, &event));
    Ok(system.skipped.get(projection).into_iter().flatten().copied().map(Position::new).collect())
}

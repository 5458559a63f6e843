//! Events that operators have decided to skip, recorded in the stream `system`. Read only when an event
//! cannot be applied: a release that can apply it does so, whatever was decided.

use std::collections::BTreeSet;

use domain::{SYSTEM_STREAM, System, system};
use store::{EventStore, Position, StoreError, StreamId};

/// The positions that this projection skips.
pub(crate) async fn load(events: &EventStore, projection: &str) -> Result<BTreeSet<Position>, StoreError> {
    let stream = StreamId::from_trusted(SYSTEM_STREAM)?;
    let decided = events.read_stream(&stream).await?;
    // System events that this release cannot decode are no skip decisions.
    let decided = decided.iter().filter_map(|event| event_codec::decode_system_event(event).ok());
    let system = decided.fold(System::default(), |system, event| system::evolve(system, &event));
    Ok(system.skipped.get(projection).into_iter().flatten().copied().map(Position::new).collect())
}

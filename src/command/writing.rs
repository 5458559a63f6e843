//! From what was decided to what is appended to a stream.

use domain::{Encoded, SYSTEM_STREAM, SystemEvent};
use store::{Ambient, Expected, NewEvent, StreamWrite};

use super::CommandError;
use super::loaded::stream_id;

/// These events, as the next of a stream that is at this version.
pub(super) fn stream_write(
    ambient: &Ambient,
    stream: &str,
    version: u64,
    events: impl Iterator<Item = Encoded>,
) -> Result<StreamWrite, CommandError> {
    let events = events.map(|Encoded { event_type, schema, data, personal }| NewEvent {
        id: ambient.uuid(),
        event_type: event_type.to_owned(),
        schema,
        data,
        personal,
    });
    Ok(StreamWrite::new(stream_id(stream)?, Expected::version(version), events.collect()))
}

/// The same, of the installation.
pub(super) fn system_write(
    ambient: &Ambient,
    version: u64,
    events: &[SystemEvent],
) -> Result<StreamWrite, CommandError> {
    stream_write(ambient, SYSTEM_STREAM, version, events.iter().map(SystemEvent::encode))
}

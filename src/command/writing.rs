//! From what was decided to what is appended to a stream.

use domain::{EventPayload, SYSTEM_STREAM, SystemEvent};
use store::{Env, ExpectedVersion, NewEvent, StreamWrite};

use super::CommandError;
use super::loaded::stream_id;

/// These events, as the next of a stream that is at this version.
pub(super) fn stream_write(
    env: &Env,
    stream: &str,
    version: u64,
    events: impl Iterator<Item = EventPayload>,
) -> Result<StreamWrite, CommandError> {
    let events = events.map(|EventPayload { event_type, schema, data, personal }| NewEvent {
        id: env.uuid(),
        event_type: event_type.to_owned(),
        schema,
        data,
        personal,
    });
    Ok(StreamWrite::new(stream_id(stream)?, ExpectedVersion::version(version), events.collect()))
}

/// The same, of the installation.
pub(super) fn system_write(
    env: &Env,
    version: u64,
    events: &[SystemEvent],
) -> Result<StreamWrite, CommandError> {
    stream_write(env, SYSTEM_STREAM, version, events.iter().map(SystemEvent::encode))
}

//! `/events`: the log, read page by page (`list`) or followed (`stream`). A `follower` is one reader; the `feed` reads what
//! is new, once for all of them, into a `window`; `subscribers` counts them.

mod broadcaster;
mod event_buffer;
pub(crate) mod list;
mod reader_slots;
mod sse;
pub(crate) mod stream;
mod subscriber;

pub(crate) use broadcaster::Broadcaster;
pub(crate) use reader_slots::ReaderSlots;

use serde::Serialize;
use utoipa::ToSchema;

/// A `CloudEvent` 1.0, see <https://cloudevents.io>.
#[derive(Serialize, ToSchema)]
#[schema(as = CloudEvent)]
pub(crate) struct CloudEventBody {
    /// Always `1.0`.
    #[schema(examples("1.0"))]
    specversion: String,
    /// The event's identity.
    id: String,
    /// The log: `/aegis/` and its id.
    source: String,
    /// What happened.
    #[schema(examples("UserRegistered"))]
    r#type: String,
    /// To whom: the user's id, else the stream.
    subject: String,
    /// When, in RFC 3339, UTC.
    #[schema(format = DateTime)]
    time: String,
    /// Always `application/json`.
    datacontenttype: String,
    /// Its place in the log: 1, 2, 3 … without a gap.
    position: u64,
    /// Its place in the stream.
    streamversion: u64,
    /// The version of the type's schema.
    schemaversion: u32,
    /// Who caused it.
    actor: String,
    /// What it says. Personal values are left out for subscribers; erased ones are gone, and `erased` is true.
    #[schema(value_type = Object)]
    data: serde_json::Value,
}

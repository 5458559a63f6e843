//! The event feed: one `broadcaster` per node reads new events, renders them once as `sse` frames and stores
//! them in the `event_buffer`, from which all subscribers (server-sent events, long polling) are served.
//! `reader_slots` limits the subscribers of each user.

pub(crate) mod broadcaster;
pub(crate) mod event_buffer;
pub(crate) mod reader_slots;
pub(crate) mod sse;

//! The indexes of `events`: whatever a page of the log is asked for, one of them leads to it in order.

use mongodb::bson::{Document, doc};

pub(crate) fn by_position() -> Document {
    doc! { "_id": 1 }
}

/// Unique: the second line of defence of expected versions.
pub(crate) fn by_stream() -> Document {
    doc! { "stream": 1, "version": -1 }
}

pub(crate) fn by_type() -> Document {
    doc! { "type": 1, "_id": 1 }
}

pub(crate) fn by_actor() -> Document {
    doc! { "actor": 1, "_id": 1 }
}

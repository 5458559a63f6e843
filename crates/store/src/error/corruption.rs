//! Findings of corrupt data: what is stored is not what this version of Aegis could have stored.

use uuid::Uuid;

use crate::event::{Position, StreamId};

use super::missing_key::KeyOwner;

/// What is wrong with the stored data. Displayed with its [code](Corruption::code).
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Corruption {
    /// Positions have no gaps, so these events were lost or removed.
    #[error("{} missing from the log", positions(*first, *last))]
    MissingEvents {
        /// The first missing position.
        first: Position,
        /// The last missing position.
        last: Position,
    },
    /// Some of the leaf hashes between two positions are not in the log.
    #[error("{missing} of the positions {first} to {last} are missing from the log")]
    MissingLeaves {
        /// The first position read.
        first: Position,
        /// The last position read.
        last: Position,
        /// How many were not found.
        missing: u64,
    },
    /// The versions of a stream have a gap.
    #[error("stream {stream} has version {found} where version {expected} was expected")]
    StreamVersionGap {
        /// The stream.
        stream: StreamId,
        /// The version that follows the one before.
        expected: u64,
        /// The stored version.
        found: u64,
    },
    /// A record that every log has, or that another record refers to, does not exist.
    #[error("{record} is missing")]
    MissingRecord {
        /// The record.
        record: String,
    },
    /// A field of a record is missing, or has another type or range.
    #[error("{record}: its field `{field}` is not {expected}")]
    InvalidField {
        /// The record.
        record: String,
        /// The field.
        field: String,
        /// What it must be.
        expected: String,
    },
    /// A record as a whole cannot be decoded.
    #[error("{record} cannot be decoded: {reason}")]
    InvalidRecord {
        /// The record.
        record: String,
        /// The decoder's message; never a personal value.
        reason: String,
    },
    /// A stored event does not decode into an event of the domain.
    #[error("the event at position {position} cannot be decoded: {reason}")]
    UndecodableEvent {
        /// Its position.
        position: Position,
        /// The decoder's message; never a personal value.
        reason: String,
    },
    /// A projection cannot apply an event.
    #[error("the event at position {position} ({event_type}) cannot be projected: {reason}")]
    UnprojectableEvent {
        /// Its position.
        position: Position,
        /// Its type.
        event_type: String,
        /// What is wrong; never a personal value.
        reason: String,
    },
    /// The stored leaf hash of an event is not the hash of the event.
    #[error("the leaf hash of the event at position {position} does not match the event")]
    LeafMismatch {
        /// Its position.
        position: Position,
    },
    /// The ciphertext of an event was changed, moved to another event, or belongs to another data key.
    #[error(
        "the personal data of the event at position {position} cannot be decrypted with its stream's data key"
    )]
    PersonalDataUndecryptable {
        /// The position of the event.
        position: Position,
    },
    /// A wrapped key does not open with the master key that it names.
    #[error(
        "{owner} cannot be unwrapped with its master key: it was wrapped for another owner, or was changed"
    )]
    KeyUndecryptable {
        /// Whose key it is.
        owner: KeyOwner,
    },
    /// An event has personal data, its stream was never erased, and the key store has no data key.
    #[error(
        "the data key of stream {stream} is missing from the key store, though the stream was never erased: \
         the event at position {position} cannot be read. Restore the key store from a backup"
    )]
    DataKeyMissing {
        /// The stream.
        stream: StreamId,
        /// The position of an event that cannot be read.
        position: Position,
    },
    /// A stream without events has a data key.
    #[error(
        "the key store has a data key for stream {stream}, which has no events; another program may have \
         written to the database"
    )]
    KeyWithoutEvents {
        /// The stream.
        stream: StreamId,
    },
    /// A stream holds unique claims and has no entry in the key store.
    #[error("stream {stream} holds claims but has no entry in the key store")]
    ClaimsWithoutKeyEntry {
        /// The stream, as stored.
        stream: String,
    },
    /// More master keys wrap data keys than any rotation leaves behind.
    #[error("more than {limit} unknown master keys wrap keys in the key store")]
    TooManyMasterKeys {
        /// The number at which counting stopped.
        limit: usize,
    },
    /// The tiles of the Merkle tree do not lead to the signed root.
    #[error(
        "the tiles of a log of {size} events do not lead to its signed root. Run `aegis events verify`: if \
         the log is intact, drop `tiles`; they are rebuilt from the log"
    )]
    TilesMismatch {
        /// The number of events.
        size: u64,
    },
    /// A tile has another number of hashes than its place in the tree requires.
    #[error("tile {tile} has {found} hashes, expected {expected}")]
    TileSize {
        /// Level and index of the tile.
        tile: String,
        /// The number of hashes required.
        expected: u64,
        /// The number stored.
        found: u64,
    },
    /// A table or collection was dropped while this process was using it.
    #[error(
        "`{table}` was dropped while the service was using it. Restart the service: it rebuilds read models \
         from the log; tables of the log itself have to be restored from a backup"
    )]
    TableDropped {
        /// Its name.
        table: String,
    },
    /// A row of a read model does not carry its authentication code: it was changed in the database.
    #[error(
        "the row {key} of `{table}` is not authentic: it was changed in the database. Run `aegis projections \
         verify` and rebuild the read model"
    )]
    RowTampered {
        /// The table.
        table: String,
        /// The key of the row.
        key: String,
    },
    /// The log has a row that the table lacks, though it has applied all events: it was deleted in the
    /// database.
    #[error(
        "the row {key} of `{table}` is missing, though the log has it: it was deleted in the database. Run `aegis \
         projections verify` and rebuild the read model"
    )]
    RowMissing {
        /// The table.
        table: String,
        /// The key of the row.
        key: String,
    },
    /// A delivery cursor does not carry its authentication code: it was changed in the database.
    #[error(
        "the delivery cursor of {stream} is not authentic: it was changed in the database, and may skip events. \
         Nothing is delivered until the webhook is resumed; delivery then starts over where it was registered"
    )]
    CursorTampered {
        /// The stream of the webhook.
        stream: StreamId,
    },
    /// A session does not match its authentication codes: it was changed in the database.
    #[error("the session {session} is not authentic: it was changed in the database. It is refused")]
    SessionTampered {
        /// The session.
        session: Uuid,
    },
    /// A unique index rejected a write that the preconditions of the transaction had allowed.
    #[error(
        "{context}: the unique index {index} holds an unexpected entry; another program may have written to \
         the database"
    )]
    UniqueIndexViolation {
        /// The operation, or the database file.
        context: String,
        /// The index, as the database names it.
        index: String,
    },
    /// The database reports that its file is damaged.
    #[error("{file} is damaged: {reason}. Restore it from a backup")]
    DamagedFile {
        /// The file.
        file: String,
        /// The database's message.
        reason: String,
    },
}

impl Corruption {
    /// A stable, machine-readable name of the variant.
    #[must_use]
    pub fn code(&self) -> &'static str {
        match self {
            Self::MissingEvents { .. } => "missing_events",
            Self::MissingLeaves { .. } => "missing_leaves",
            Self::StreamVersionGap { .. } => "stream_version_gap",
            Self::MissingRecord { .. } => "missing_record",
            Self::InvalidField { .. } => "invalid_field",
            Self::InvalidRecord { .. } => "invalid_record",
            Self::UndecodableEvent { .. } => "undecodable_event",
            Self::UnprojectableEvent { .. } => "unprojectable_event",
            Self::LeafMismatch { .. } => "leaf_mismatch",
            Self::PersonalDataUndecryptable { .. } => "personal_data_undecryptable",
            Self::KeyUndecryptable { .. } => "key_undecryptable",
            Self::DataKeyMissing { .. } => "data_key_missing",
            Self::KeyWithoutEvents { .. } => "key_without_events",
            Self::ClaimsWithoutKeyEntry { .. } => "claims_without_key_entry",
            Self::TooManyMasterKeys { .. } => "too_many_master_keys",
            Self::TilesMismatch { .. } => "tiles_mismatch",
            Self::TileSize { .. } => "tile_size",
            Self::TableDropped { .. } => "table_dropped",
            Self::RowTampered { .. } => "row_tampered",
            Self::RowMissing { .. } => "row_missing",
            Self::CursorTampered { .. } => "cursor_tampered",
            Self::SessionTampered { .. } => "session_tampered",
            Self::UniqueIndexViolation { .. } => "unique_index_violation",
            Self::DamagedFile { .. } => "damaged_file",
        }
    }

    /// A record that must exist does not.
    pub fn missing(record: impl Into<String>) -> Self {
        Self::MissingRecord { record: record.into() }
    }

    /// A record cannot be decoded.
    #[expect(
        clippy::needless_pass_by_value,
        reason = "callers map an error into this one and have no more use for it"
    )]
    pub fn invalid(record: impl Into<String>, reason: impl ToString) -> Self {
        Self::InvalidRecord { record: record.into(), reason: reason.to_string() }
    }

    /// A field of a record is not what it must be.
    pub fn field(record: impl Into<String>, field: impl Into<String>, expected: impl Into<String>) -> Self {
        Self::InvalidField { record: record.into(), field: field.into(), expected: expected.into() }
    }
}

fn positions(first: Position, last: Position) -> String {
    if first == last { format!("position {first} is") } else { format!("positions {first} to {last} are") }
}

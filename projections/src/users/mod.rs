//! `users`: one row per user who can be known. Login and `/users/me` read it, and nothing else.

mod fold;
pub mod lookup;
mod row;

pub use row::{UnreadableRow, UserRow};

use domain::UserId;
use store::{Column, ColumnKind, Envelope, MAC, Row, StoredEvent, TableSchema, without_mac};

use crate::previous_version::{self, PreviousVersion};
use crate::projection::{PoisonEvent, Projection};

static SCHEMA: TableSchema = TableSchema { columns: COLUMNS, indexes: INDEXES };
/// Does not know verified e-mail addresses.
static VERSION_2: PreviousVersion<Users> = PreviousVersion {
    current: Users,
    version: 2,
    schema: &TableSchema { columns: COLUMNS_OF_2, indexes: INDEXES },
    ignores: previous_version::none,
    previous: Some(&VERSION_1),
};
/// Its rows have no authentication codes either.
static VERSION_1: PreviousVersion<Users> = PreviousVersion {
    current: Users,
    version: 1,
    schema: &TableSchema { columns: without_mac(COLUMNS_OF_2), indexes: INDEXES },
    ignores: previous_version::none,
    previous: None,
};

const INDEXES: &[&str] = &["email_key", "username_key"];
const COLUMNS: &[Column] = &[
    Column { name: "id", kind: ColumnKind::Text },
    Column { name: "email", kind: ColumnKind::Text },
    Column { name: "username", kind: ColumnKind::Text },
    Column { name: "is_active", kind: ColumnKind::Boolean },
    Column { name: "created_at", kind: ColumnKind::Time },
    Column { name: "roles", kind: ColumnKind::TextList },
    Column { name: "email_key", kind: ColumnKind::Text },
    Column { name: "username_key", kind: ColumnKind::Text },
    Column { name: "password_hash", kind: ColumnKind::Text },
    Column { name: "email_verified", kind: ColumnKind::Boolean },
    Column { name: "version", kind: ColumnKind::Integer },
    Column { name: "tokens_from", kind: ColumnKind::Integer },
    Column { name: "position", kind: ColumnKind::Integer },
    MAC,
];

const COLUMNS_OF_2: &[Column] = &[
    Column { name: "id", kind: ColumnKind::Text },
    Column { name: "email", kind: ColumnKind::Text },
    Column { name: "username", kind: ColumnKind::Text },
    Column { name: "is_active", kind: ColumnKind::Boolean },
    Column { name: "created_at", kind: ColumnKind::Time },
    Column { name: "roles", kind: ColumnKind::TextList },
    Column { name: "email_key", kind: ColumnKind::Text },
    Column { name: "username_key", kind: ColumnKind::Text },
    Column { name: "password_hash", kind: ColumnKind::Text },
    Column { name: "version", kind: ColumnKind::Integer },
    Column { name: "tokens_from", kind: ColumnKind::Integer },
    Column { name: "position", kind: ColumnKind::Integer },
    MAC,
];

/// The projection.
#[derive(Clone, Copy, Debug)]
pub struct Users;

impl Projection for Users {
    fn name(&self) -> &'static str {
        "users"
    }

    fn version(&self) -> u32 {
        3
    }

    fn schema(&self) -> &'static TableSchema {
        &SCHEMA
    }

    fn key(&self, event: &Envelope) -> Option<String> {
        UserId::from_stream(event.stream.as_str()).map(|id| id.to_string())
    }

    fn stream_of(&self, key: &str) -> Option<String> {
        UserId::parse(key).ok().map(|id| id.stream())
    }

    fn creates_row(&self, event: &Envelope) -> bool {
        event.version == 1
    }

    fn fold(&self, row: Option<Row>, event: &StoredEvent) -> Result<Option<Row>, PoisonEvent> {
        let row = row
            .map(|row| UserRow::from_row(&row))
            .transpose()
            .map_err(|error| PoisonEvent::new(event, &error))?;
        let decoded =
            event_codec::decode_user_event(event).map_err(|error| PoisonEvent::new(event, &error))?;
        let Some(id) = UserId::from_stream(event.envelope.stream.as_str()) else {
            return Err(PoisonEvent::new(event, &"it is no event of a user"));
        };
        Ok(fold::fold(row, id, &decoded, &event.envelope).map(|row| row.to_row()))
    }

    fn previous(&self) -> Option<&'static dyn Projection> {
        Some(&VERSION_2)
    }
}

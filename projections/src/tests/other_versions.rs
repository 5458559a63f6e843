//! Projections of other releases.

use serde_json::Value;
use store::{Column, ColumnKind, Envelope, Row, StoredEvent, TableSchema};

use crate::{PoisonEvent, Projection, Users};

/// `users` in a release that knows the event type `FromTheFuture`.
pub(super) struct FixedUsers;

impl Projection for FixedUsers {
    fn name(&self) -> &'static str {
        Users.name()
    }

    fn version(&self) -> u32 {
        Users.version()
    }

    fn schema(&self) -> &'static TableSchema {
        Users.schema()
    }

    fn key(&self, event: &Envelope) -> Option<String> {
        Users.key(event)
    }

    fn creates_row(&self, event: &Envelope) -> bool {
        Users.creates_row(event)
    }

    fn fold(&self, row: Option<Row>, event: &StoredEvent) -> Result<Option<Row>, PoisonEvent> {
        if event.envelope.event_type == "FromTheFuture" { Ok(row) } else { Users.fold(row, event) }
    }
}

/// `users` in the next release: other rows, and it halts on `RoleGranted`.
pub(super) struct UsersV2;

static USERS_V2: TableSchema = TableSchema {
    columns: &[
        Column { name: "id", kind: ColumnKind::Text },
        Column { name: "types", kind: ColumnKind::TextList },
    ],
    indexes: &[],
};

impl Projection for UsersV2 {
    fn name(&self) -> &'static str {
        Users.name()
    }

    fn version(&self) -> u32 {
        Users.version() + 1
    }

    fn schema(&self) -> &'static TableSchema {
        &USERS_V2
    }

    fn key(&self, event: &Envelope) -> Option<String> {
        Users.key(event)
    }

    fn fold(&self, row: Option<Row>, event: &StoredEvent) -> Result<Option<Row>, PoisonEvent> {
        let event_type = &event.envelope.event_type;
        if event_type == "RoleGranted" {
            return Err(PoisonEvent::new(event, &"this program has a fault"));
        }
        let mut row = row.unwrap_or_default();
        row.insert("id".to_owned(), self.key(&event.envelope).into());
        let mut types = row.get("types").and_then(|types| types.as_array().cloned()).unwrap_or_default();
        types.push(event_type.as_str().into());
        row.insert("types".to_owned(), types.into());
        Ok(Some(row))
    }

    fn previous(&self) -> Option<&'static dyn Projection> {
        Some(&Users)
    }
}

/// `users` two releases later, which no longer supports version 1.
pub(super) struct UsersV3;

impl Projection for UsersV3 {
    fn name(&self) -> &'static str {
        Users.name()
    }

    fn version(&self) -> u32 {
        Users.version() + 2
    }

    fn schema(&self) -> &'static TableSchema {
        Users.schema()
    }

    fn key(&self, event: &Envelope) -> Option<String> {
        Users.key(event)
    }

    fn fold(&self, row: Option<Row>, event: &StoredEvent) -> Result<Option<Row>, PoisonEvent> {
        Users.fold(row, event)
    }

    fn previous(&self) -> Option<&'static dyn Projection> {
        Some(&UsersV2Final)
    }
}

/// The previous version of [`UsersV3`]: [`UsersV2`] without a previous version.
struct UsersV2Final;

impl Projection for UsersV2Final {
    fn name(&self) -> &'static str {
        Users.name()
    }

    fn version(&self) -> u32 {
        UsersV2.version()
    }

    fn schema(&self) -> &'static TableSchema {
        UsersV2.schema()
    }

    fn key(&self, event: &Envelope) -> Option<String> {
        UsersV2.key(event)
    }

    fn fold(&self, row: Option<Row>, event: &StoredEvent) -> Result<Option<Row>, PoisonEvent> {
        UsersV2.fold(row, event)
    }
}

/// Counts the events of each user, so that a row depends on every event before.
pub(super) struct EventCounts;

static EVENT_COUNTS: TableSchema = TableSchema {
    columns: &[
        Column { name: "id", kind: ColumnKind::Text },
        Column { name: "events", kind: ColumnKind::Integer },
    ],
    indexes: &[],
};

impl Projection for EventCounts {
    fn name(&self) -> &'static str {
        "event_counts"
    }

    fn schema(&self) -> &'static TableSchema {
        &EVENT_COUNTS
    }

    fn reads_personal(&self) -> bool {
        false
    }

    fn key(&self, event: &Envelope) -> Option<String> {
        Users.key(event)
    }

    fn creates_row(&self, event: &Envelope) -> bool {
        Users.creates_row(event)
    }

    fn fold(&self, row: Option<Row>, event: &StoredEvent) -> Result<Option<Row>, PoisonEvent> {
        if event.envelope.event_type == "UserErased" {
            return Ok(None);
        }
        let mut row = row.unwrap_or_default();
        let events = row.get("events").and_then(Value::as_u64).unwrap_or_default();
        row.insert("id".to_owned(), self.key(&event.envelope).into());
        row.insert("events".to_owned(), (events + 1).into());
        Ok(Some(row))
    }
}

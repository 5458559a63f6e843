//! `user_activity`: one row per user, on what has happened to them, not who they are. Nothing in it is personal, and it is
//! gone with the user all the same.

use domain::{UserEvent, UserId};
use serde_json::{Value, json};
use store::{Column, ColumnKind, Envelope, Row, StoredEvent, TableSchema};

use crate::projection::{PoisonEvent, Projection};

static SCHEMA: TableSchema = TableSchema {
    columns: &[
        Column { name: "id", kind: ColumnKind::Text },
        Column { name: "registered_at", kind: ColumnKind::Time },
        Column { name: "last_change_at", kind: ColumnKind::Time },
        Column { name: "events", kind: ColumnKind::Integer },
        Column { name: "last_actor", kind: ColumnKind::Text },
        Column { name: "position", kind: ColumnKind::Integer },
    ],
    indexes: &[],
};

/// The projection.
#[derive(Clone, Copy, Debug)]
pub struct UserActivity;

impl Projection for UserActivity {
    fn name(&self) -> &'static str {
        "user_activity"
    }

    fn schema(&self) -> &'static TableSchema {
        &SCHEMA
    }

    fn reads_personal(&self) -> bool {
        false
    }

    fn key(&self, event: &Envelope) -> Option<String> {
        UserId::from_stream(event.stream.as_str()).map(|id| id.to_string())
    }

    fn creates_row(&self, event: &Envelope) -> bool {
        event.version == 1
    }

    fn fold(&self, row: Option<Row>, event: &StoredEvent) -> Result<Option<Row>, PoisonEvent> {
        let decoded =
            event_codec::decode_user_event(event).map_err(|error| PoisonEvent::new(event, &error))?;
        let envelope = &event.envelope;
        let Some(id) = self.key(envelope) else { return Ok(row) };
        let registered_at = match &decoded {
            UserEvent::UserErased { .. } => return Ok(None),
            UserEvent::UserRegistered { .. } => envelope.at.as_millisecond(),
            UserEvent::UserImported { created_at, .. } => {
                event_codec::timestamp(*created_at).as_millisecond()
            }
            UserEvent::UserDeactivated { .. }
            | UserEvent::UserReactivated { .. }
            | UserEvent::RoleGranted { .. }
            | UserEvent::RoleRevoked { .. } => number(row.as_ref(), "registered_at"),
        };
        let after = json!({
            "id": id,
            "registered_at": registered_at,
            "last_change_at": envelope.at.as_millisecond(),
            "events": number(row.as_ref(), "events") + 1,
            "last_actor": envelope.actor,
            "position": envelope.position.get(),
        });
        Ok(after.as_object().cloned())
    }
}

fn number(row: Option<&Row>, field: &str) -> i64 {
    row.and_then(|row| row.get(field)).and_then(Value::as_i64).unwrap_or_default()
}

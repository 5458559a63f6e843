//! `daily`: one row per day (UTC) with user events, counting them. The number of active users at the end of a
//! day is the sum of `active_change` up to it.

use domain::{UserEvent, UserId};
use jiff::tz::TimeZone;
use serde_json::Value;
use store::{Column, ColumnKind, Envelope, MAC, Row, StoredEvent, TableSchema, without_mac};

use crate::projection::{PoisonEvent, Projection};
use crate::unauthenticated::Unauthenticated;

static SCHEMA: TableSchema = TableSchema { columns: COLUMNS, indexes: &[] };
static UNAUTHENTICATED: Unauthenticated<Daily> =
    Unauthenticated { current: Daily, schema: &TableSchema { columns: without_mac(COLUMNS), indexes: &[] } };

const COLUMNS: &[Column] = &[
    Column { name: "day", kind: ColumnKind::Text },
    Column { name: "registered", kind: ColumnKind::Integer },
    Column { name: "deactivated", kind: ColumnKind::Integer },
    Column { name: "reactivated", kind: ColumnKind::Integer },
    Column { name: "erased", kind: ColumnKind::Integer },
    Column { name: "active_change", kind: ColumnKind::Integer },
    Column { name: "position", kind: ColumnKind::Integer },
    MAC,
];

/// The projection.
#[derive(Clone, Copy, Debug)]
pub struct Daily;

/// The user events of one day.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct DayRow {
    /// The day, as in `2026-11-23`.
    pub day: String,
    /// Users who registered or were imported.
    pub registered: i64,
    /// Deactivations.
    pub deactivated: i64,
    /// Reactivations.
    pub reactivated: i64,
    /// Erasures.
    pub erased: i64,
    /// Change in the number of active users; negative if fewer.
    pub active_change: i64,
    /// The position of the last event in the row.
    pub position: i64,
}

impl DayRow {
    /// A stored row. A missing field counts as zero.
    #[must_use]
    pub fn from_row(row: &Row) -> Self {
        let number = |field: &str| row.get(field).and_then(Value::as_i64).unwrap_or_default();
        Self {
            day: row.get("day").and_then(Value::as_str).unwrap_or_default().to_owned(),
            registered: number("registered"),
            deactivated: number("deactivated"),
            reactivated: number("reactivated"),
            erased: number("erased"),
            active_change: number("active_change"),
            position: number("position"),
        }
    }

    fn to_row(&self) -> Row {
        let Self { day, registered, deactivated, reactivated, erased, active_change, position } = self;
        let fields: [(&str, Value); 7] = [
            ("day", day.as_str().into()),
            ("registered", (*registered).into()),
            ("deactivated", (*deactivated).into()),
            ("reactivated", (*reactivated).into()),
            ("erased", (*erased).into()),
            ("active_change", (*active_change).into()),
            ("position", (*position).into()),
        ];
        fields.into_iter().map(|(name, value)| (name.to_owned(), value)).collect()
    }

    /// The day after an event. An erased user was deactivated before, in the same commit if need be.
    fn with(mut self, event: &UserEvent) -> Self {
        match event {
            UserEvent::UserRegistered { .. } => {
                self.registered += 1;
                self.active_change += 1;
            }
            UserEvent::UserImported { is_active, .. } => {
                self.registered += 1;
                self.active_change += i64::from(*is_active);
            }
            UserEvent::UserDeactivated { .. } => {
                self.deactivated += 1;
                self.active_change -= 1;
            }
            UserEvent::UserReactivated { .. } => {
                self.reactivated += 1;
                self.active_change += 1;
            }
            UserEvent::UserErased { .. } => self.erased += 1,
            UserEvent::RoleGranted { .. }
            | UserEvent::RoleRevoked { .. }
            | UserEvent::UserLocked
            | UserEvent::UserUnlocked
            | UserEvent::PasswordRehashed { .. }
            | UserEvent::EmailChanged { .. }
            | UserEvent::UsernameChanged { .. }
            | UserEvent::PasswordChanged { .. }
            | UserEvent::TokensRevoked
            | UserEvent::SessionRevoked { .. } => {}
        }
        self
    }
}

impl Projection for Daily {
    fn name(&self) -> &'static str {
        "daily"
    }

    fn version(&self) -> u32 {
        2
    }

    fn schema(&self) -> &'static TableSchema {
        &SCHEMA
    }

    fn reads_personal(&self) -> bool {
        false
    }

    fn key(&self, event: &Envelope) -> Option<String> {
        UserId::from_stream(event.stream.as_str())?;
        Some(TimeZone::UTC.to_datetime(event.at).date().to_string())
    }

    fn fold(&self, row: Option<Row>, event: &StoredEvent) -> Result<Option<Row>, PoisonEvent> {
        let decoded =
            event_codec::decode_user_event(event).map_err(|error| PoisonEvent::new(event, &error))?;
        let Some(day) = self.key(&event.envelope) else { return Ok(row) };
        let before = row.as_ref().map(DayRow::from_row).unwrap_or_default();
        let after = before.with(&decoded);
        Ok(Some(DayRow { day, position: event.envelope.position.to_i64(), ..after }.to_row()))
    }

    fn previous(&self) -> Option<&'static dyn Projection> {
        Some(&UNAUTHENTICATED)
    }
}

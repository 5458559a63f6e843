//! `daily`: one row per day (UTC) with events of users or logins, counting them. The number of active users at the end of a
//! day is the sum of `active_change` up to it.

use domain::{LoginEvent, UserEvent, UserId};
use jiff::tz::TimeZone;
use serde_json::Value;
use store::{Column, ColumnKind, Envelope, MAC, Row, StoredEvent, TableSchema, without_mac};

use crate::previous_version::PreviousVersion;
use crate::projection::{PoisonEvent, Projection};

static SCHEMA: TableSchema = TableSchema { columns: COLUMNS, indexes: &[] };
/// Does not count failed logins.
static VERSION_3: PreviousVersion<Daily> = PreviousVersion {
    current: Daily,
    version: 3,
    schema: &TableSchema { columns: COLUMNS_OF_3, indexes: &[] },
    ignores: is_failed_login,
    previous: Some(&VERSION_2),
};
/// Does not count logins.
static VERSION_2: PreviousVersion<Daily> = PreviousVersion {
    current: Daily,
    version: 2,
    schema: &TableSchema { columns: COLUMNS_OF_2, indexes: &[] },
    ignores: is_of_logins,
    previous: Some(&VERSION_1),
};
/// Its rows have no authentication codes either.
static VERSION_1: PreviousVersion<Daily> = PreviousVersion {
    current: Daily,
    version: 1,
    schema: &TableSchema { columns: without_mac(COLUMNS_OF_2), indexes: &[] },
    ignores: is_of_logins,
    previous: None,
};

const COLUMNS: &[Column] = &[
    Column { name: "day", kind: ColumnKind::Text },
    Column { name: "registered", kind: ColumnKind::Integer },
    Column { name: "deactivated", kind: ColumnKind::Integer },
    Column { name: "reactivated", kind: ColumnKind::Integer },
    Column { name: "erased", kind: ColumnKind::Integer },
    Column { name: "active_change", kind: ColumnKind::Integer },
    Column { name: "logins", kind: ColumnKind::Integer },
    Column { name: "failed_logins", kind: ColumnKind::Integer },
    Column { name: "position", kind: ColumnKind::Integer },
    MAC,
];

const COLUMNS_OF_3: &[Column] = &[
    Column { name: "day", kind: ColumnKind::Text },
    Column { name: "registered", kind: ColumnKind::Integer },
    Column { name: "deactivated", kind: ColumnKind::Integer },
    Column { name: "reactivated", kind: ColumnKind::Integer },
    Column { name: "erased", kind: ColumnKind::Integer },
    Column { name: "active_change", kind: ColumnKind::Integer },
    Column { name: "logins", kind: ColumnKind::Integer },
    Column { name: "position", kind: ColumnKind::Integer },
    MAC,
];

const COLUMNS_OF_2: &[Column] = &[
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
    /// Successful logins.
    pub logins: i64,
    /// Failed logins.
    pub failed_logins: i64,
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
            logins: number("logins"),
            failed_logins: number("failed_logins"),
            position: number("position"),
        }
    }

    fn to_row(&self) -> Row {
        let Self {
            day,
            registered,
            deactivated,
            reactivated,
            erased,
            active_change,
            logins,
            failed_logins,
            position,
        } = self;
        let fields: [(&str, Value); 9] = [
            ("day", day.as_str().into()),
            ("registered", (*registered).into()),
            ("deactivated", (*deactivated).into()),
            ("reactivated", (*reactivated).into()),
            ("erased", (*erased).into()),
            ("active_change", (*active_change).into()),
            ("logins", (*logins).into()),
            ("failed_logins", (*failed_logins).into()),
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
            | UserEvent::SessionRevoked { .. }
            | UserEvent::EmailVerificationRequested
            | UserEvent::EmailVerified
            | UserEvent::PasswordResetRequested => {}
        }
        self
    }

    /// The day after an event of a login. A spell of failures is counted by its beginning, and by its end without
    /// the failure at the beginning.
    fn with_login(mut self, event: &LoginEvent) -> Self {
        let after_the_first = |count: u64| i64::try_from(count.saturating_sub(1)).unwrap_or(i64::MAX);
        let failures = match event {
            LoginEvent::LoginSucceeded { failures, .. } => {
                self.logins += 1;
                after_the_first(*failures)
            }
            LoginEvent::LoginFailed { count: None, .. } => 1,
            LoginEvent::LoginFailed { count: Some(count), .. } => after_the_first(*count),
        };
        self.failed_logins = self.failed_logins.saturating_add(failures);
        self
    }
}

impl Projection for Daily {
    fn name(&self) -> &'static str {
        "daily"
    }

    fn version(&self) -> u32 {
        4
    }

    fn schema(&self) -> &'static TableSchema {
        &SCHEMA
    }

    fn reads_personal(&self) -> bool {
        false
    }

    fn key(&self, event: &Envelope) -> Option<String> {
        let is_counted = UserId::from_stream(event.stream.as_str()).is_some() || is_of_logins(event);
        is_counted.then(|| TimeZone::UTC.to_datetime(event.at).date().to_string())
    }

    fn fold(&self, row: Option<Row>, event: &StoredEvent) -> Result<Option<Row>, PoisonEvent> {
        let Some(day) = self.key(&event.envelope) else { return Ok(row) };
        let before = row.as_ref().map(DayRow::from_row).unwrap_or_default();
        let after = if is_of_logins(&event.envelope) {
            let decoded = event_codec::decode_login_event(event);
            before.with_login(&decoded.map_err(|error| PoisonEvent::new(event, &error))?)
        } else {
            let decoded = event_codec::decode_user_event(event);
            before.with(&decoded.map_err(|error| PoisonEvent::new(event, &error))?)
        };
        Ok(Some(DayRow { day, position: event.envelope.position.to_i64(), ..after }.to_row()))
    }

    fn previous(&self) -> Option<&'static dyn Projection> {
        Some(&VERSION_3)
    }
}

/// Whether the event is of failed logins alone.
fn is_failed_login(event: &Envelope) -> bool {
    event.event_type != LoginEvent::SUCCEEDED && is_of_logins(event)
}

fn is_of_logins(event: &Envelope) -> bool {
    UserId::from_logins_stream(event.stream.as_str()).is_some()
}

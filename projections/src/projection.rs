//! The [`Projection`] trait: a pure fold from events to the rows of a read model.

use store::{
    Corruption, Envelope, Position, ProjectionVersions, Row, StoreError, StoredEvent, Table, TableSchema,
};

/// A read model: every event changes at most one row, and the new row depends only on the previous row and
/// the event.
///
/// The fold is pure, so a rebuild yields the same rows as incremental projection.
///
/// ```
/// use projections::{PoisonEvent, Projection};
/// use store::{Column, ColumnKind, Envelope, Row, StoredEvent, TableSchema};
///
/// /// Counts the events of each stream.
/// struct EventCounts;
///
/// static SCHEMA: TableSchema = TableSchema {
///     columns: &[
///         Column { name: "stream", kind: ColumnKind::Text },
///         Column { name: "events", kind: ColumnKind::Integer },
///     ],
///     indexes: &[],
/// };
///
/// impl Projection for EventCounts {
///     fn name(&self) -> &'static str {
///         "event_counts"
///     }
///
///     fn schema(&self) -> &'static TableSchema {
///         &SCHEMA
///     }
///
///     fn reads_personal(&self) -> bool {
///         false
///     }
///
///     fn key(&self, event: &Envelope) -> Option<String> {
///         Some(event.stream.as_str().to_owned())
///     }
///
///     fn fold(&self, row: Option<Row>, event: &StoredEvent) -> Result<Option<Row>, PoisonEvent> {
///         let mut row = row.unwrap_or_default();
///         let events = row.get("events").and_then(|events| events.as_u64()).unwrap_or_default();
///         row.insert("stream".to_owned(), event.envelope.stream.as_str().into());
///         row.insert("events".to_owned(), (events + 1).into());
///         Ok(Some(row))
///     }
/// }
///
/// let projection: &dyn Projection = &EventCounts;
/// assert_eq!(&*projection.table(1).name, "event_counts_1");
/// ```
pub trait Projection: Send + Sync {
    /// The name, from which tables are named together with the version number: `users_1`.
    fn name(&self) -> &'static str;

    /// The version of this projection's code, from 1. A change of the fold or of the schema raises it and
    /// keeps the previous code as [`Projection::previous`] for one release.
    fn version(&self) -> u32 {
        1
    }

    /// The columns and indexes of its table.
    fn schema(&self) -> &'static TableSchema;

    /// Whether the fold reads personal data. If not, nothing is decrypted, and every event arrives as if its
    /// user were erased.
    fn reads_personal(&self) -> bool {
        true
    }

    /// The key of the row that the event changes; `None` if it does not concern this projection.
    fn key(&self, event: &Envelope) -> Option<String>;

    /// The stream whose events alone make the row with that key, if one stream does.
    fn stream_of(&self, _: &str) -> Option<String> {
        None
    }

    /// Whether no row with that key can exist before this event, as with the first event of a stream if each
    /// stream has its row. Saves a lookup.
    fn creates_row(&self, _: &Envelope) -> bool {
        false
    }

    /// The row after the event; `None` deletes it.
    ///
    /// # Errors
    /// [`PoisonEvent`] if this version cannot interpret the event or the row. The projection halts on it:
    /// skipping an event silently would show a state that never existed.
    fn fold(&self, row: Option<Row>, event: &StoredEvent) -> Result<Option<Row>, PoisonEvent>;

    /// The code of the previous version, which keeps the existing rows current during the rebuild.
    fn previous(&self) -> Option<&'static dyn Projection> {
        None
    }
}

impl dyn Projection {
    /// The table of that version of the read model.
    #[must_use]
    pub fn table(&self, number: u64) -> Table {
        Table::of(self.name(), number, self.schema())
    }

    /// The table of the live version, in the layout of the projection version that made it.
    #[must_use]
    pub fn live_table(&'static self, versions: Option<&ProjectionVersions>) -> Table {
        self.live_code(versions).table(versions.map_or(1, |versions| versions.live))
    }

    /// The code of the live version.
    #[must_use]
    pub fn live_code(&'static self, versions: Option<&ProjectionVersions>) -> &'static dyn Projection {
        let live = versions.and_then(|versions| versions.get(versions.live));
        live.and_then(|live| self.with_version(live.fold)).unwrap_or(self)
    }

    /// The code of that version, if this release still has it.
    #[must_use]
    pub fn with_version(&'static self, version: u32) -> Option<&'static dyn Projection> {
        let mut known: Option<&'static dyn Projection> = Some(self);
        while let Some(projection) = known {
            if projection.version() == version {
                return Some(projection);
            }
            known = projection.previous();
        }
        None
    }
}

/// An event that a projection cannot apply.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the event at position {position} ({event_type}) cannot be projected: {reason}")]
pub struct PoisonEvent {
    /// Its position.
    pub position: Position,
    /// Its type.
    pub event_type: String,
    /// The problem; never a personal value.
    pub reason: String,
}

impl From<PoisonEvent> for StoreError {
    fn from(PoisonEvent { position, event_type, reason }: PoisonEvent) -> Self {
        Corruption::UnprojectableEvent { position, event_type, reason }.into()
    }
}

impl PoisonEvent {
    /// `event` cannot be projected because of `reason`.
    pub fn new(event: &StoredEvent, reason: &impl ToString) -> Self {
        Self {
            position: event.envelope.position,
            event_type: event.envelope.event_type.clone(),
            reason: reason.to_string(),
        }
    }
}

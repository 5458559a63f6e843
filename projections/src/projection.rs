//! What a projection is: pure, and the same wherever and however often it runs.

use store::{Envelope, Position, Row, StoredEvent, Table, TableSchema};

/// One read model: every event goes into at most one row, and the row after depends on nothing but the row before and
/// the event.
pub trait Projection: Send + Sync {
    /// Its name. Tables are called by it and the number of a version: `users_1`.
    fn name(&self) -> &'static str;

    /// The version of this fold, from 1. Whoever changes the fold, or the shape of its rows, raises it and keeps the
    /// fold of before as [`Projection::predecessor`] for one release.
    fn version(&self) -> u32 {
        1
    }

    /// What its rows look like.
    fn schema(&self) -> &'static TableSchema;

    /// Whether the fold looks at what is personal. One that does not is spared the unsealing, and is handed every event
    /// as if its person were erased.
    fn reads_personal(&self) -> bool {
        true
    }

    /// The key of the row that the event goes into; `None` if it does not concern this projection.
    fn key(&self, event: &Envelope) -> Option<String>;

    /// Whether there can be no row of that key before this event, such as the first one of a stream where each stream has
    /// its row. It spares looking for one.
    fn creates_row(&self, _: &Envelope) -> bool {
        false
    }

    /// The row after the event; `None` removes it.
    ///
    /// # Errors
    /// [`PoisonEvent`] if the event, or the row, is not what this version understands. The projection halts on it: skipping
    /// an event in silence would show operators and users a state that never was.
    fn fold(&self, row: Option<Row>, event: &StoredEvent) -> Result<Option<Row>, PoisonEvent>;

    /// The fold of the version before, which keeps the old rows up to date while the new ones are made.
    fn predecessor(&self) -> Option<&'static dyn Projection> {
        None
    }
}

impl dyn Projection {
    /// The table of that version of the read model.
    #[must_use]
    pub fn table(&self, number: u64) -> Table {
        Table::of(self.name(), number, self.schema())
    }

    /// The fold of that version, if it is still in the program.
    #[must_use]
    pub fn with_version(&'static self, version: u32) -> Option<&'static dyn Projection> {
        let mut known: Option<&'static dyn Projection> = Some(self);
        while let Some(projection) = known {
            if projection.version() == version {
                return Some(projection);
            }
            known = projection.predecessor();
        }
        None
    }
}

/// An event that a projection cannot take in.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the event at position {position} ({event_type}) cannot be projected: {reason}")]
pub struct PoisonEvent {
    /// Where it is.
    pub position: Position,
    /// Its type.
    pub event_type: String,
    /// What is wrong; never a personal value.
    pub reason: String,
}

impl PoisonEvent {
    /// The event cannot be projected because of `reason`.
    pub fn new(event: &StoredEvent, reason: &impl ToString) -> Self {
        Self {
            position: event.envelope.position,
            event_type: event.envelope.event_type.clone(),
            reason: reason.to_string(),
        }
    }
}

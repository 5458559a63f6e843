//! What a projection is: pure, and the same wherever and however often it runs.

use store::{Pair, Position, Recorded, Row};

/// One read model: every event goes into at most one row, and the row after depends on nothing but the row before and
/// the event.
pub trait Projection: Send + Sync {
    /// Its name, without the version.
    fn name(&self) -> &'static str;

    /// The tables of its rows, whose names begin with the name and the version of the projection. All but a rebuild
    /// read and write the live one.
    fn pair(&self) -> &'static Pair;

    /// The key of the row that the event goes into; `None` if it does not concern this projection.
    fn key(&self, event: &Recorded) -> Option<String>;

    /// The row after the event; `None` removes it.
    ///
    /// # Errors
    /// [`Poison`] if the event, or the row, is not what this version understands. The projector halts on it: skipping
    /// an event in silence would show operators and users a state that never was.
    fn fold(&self, row: Option<Row>, event: &Recorded) -> Result<Option<Row>, Poison>;
}

/// An event that a projection cannot take in.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the event at position {position} ({event_type}) cannot be projected: {reason}")]
pub struct Poison {
    /// Where it is.
    pub position: Position,
    /// Its type.
    pub event_type: String,
    /// What is wrong; never a personal value.
    pub reason: String,
}

impl Poison {
    /// The event cannot be projected because of `reason`.
    pub fn new(event: &Recorded, reason: &impl ToString) -> Self {
        Self {
            position: event.envelope.position,
            event_type: event.envelope.event_type.clone(),
            reason: reason.to_string(),
        }
    }
}

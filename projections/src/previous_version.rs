//! Earlier versions of a projection, which lack columns or events of the current one. They keep the rows of an earlier
//! release current until the rebuilt version replaces them.

use store::{Envelope, Row, StoredEvent, TableSchema};

use crate::projection::{PoisonEvent, Projection};

/// The fold of the current version into a table with the columns of an earlier one.
#[derive(Clone, Copy)]
pub(crate) struct PreviousVersion<P> {
    pub(crate) current: P,
    pub(crate) version: u32,
    pub(crate) schema: &'static TableSchema,
    /// Which events that version does not know.
    pub(crate) ignores: fn(&Envelope) -> bool,
    pub(crate) previous: Option<&'static dyn Projection>,
}

/// Ignores no event.
pub(crate) const fn none(_: &Envelope) -> bool {
    false
}

impl<P: Projection> Projection for PreviousVersion<P> {
    fn name(&self) -> &'static str {
        self.current.name()
    }

    fn version(&self) -> u32 {
        self.version
    }

    fn schema(&self) -> &'static TableSchema {
        self.schema
    }

    fn reads_personal(&self) -> bool {
        self.current.reads_personal()
    }

    fn key(&self, event: &Envelope) -> Option<String> {
        if (self.ignores)(event) { None } else { self.current.key(event) }
    }

    fn stream_of(&self, key: &str) -> Option<String> {
        self.current.stream_of(key)
    }

    fn creates_row(&self, event: &Envelope) -> bool {
        self.current.creates_row(event)
    }

    fn fold(&self, row: Option<Row>, event: &StoredEvent) -> Result<Option<Row>, PoisonEvent> {
        let mut row = self.current.fold(row, event)?;
        if let Some(row) = &mut row {
            row.retain(|name, _| self.schema.columns.iter().any(|column| column.name == name));
        }
        Ok(row)
    }

    fn previous(&self) -> Option<&'static dyn Projection> {
        self.previous
    }
}

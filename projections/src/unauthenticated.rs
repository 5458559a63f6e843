//! The versions of projections before row authentication: the same fold into a table without the column of
//! the code. They keep the rows of an earlier release current until the rebuilt version replaces them.

use store::{Envelope, Row, StoredEvent, TableSchema};

use crate::projection::{PoisonEvent, Projection};

/// Version 1 of a projection, in a table with the columns of that time.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Unauthenticated<P> {
    pub(crate) current: P,
    pub(crate) schema: &'static TableSchema,
}

impl<P: Projection> Projection for Unauthenticated<P> {
    fn name(&self) -> &'static str {
        self.current.name()
    }

    fn schema(&self) -> &'static TableSchema {
        self.schema
    }

    fn reads_personal(&self) -> bool {
        self.current.reads_personal()
    }

    fn key(&self, event: &Envelope) -> Option<String> {
        self.current.key(event)
    }

    fn stream_of(&self, key: &str) -> Option<String> {
        self.current.stream_of(key)
    }

    fn creates_row(&self, event: &Envelope) -> bool {
        self.current.creates_row(event)
    }

    fn fold(&self, row: Option<Row>, event: &StoredEvent) -> Result<Option<Row>, PoisonEvent> {
        self.current.fold(row, event)
    }
}

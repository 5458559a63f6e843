//! The version of `users` that does not know verified e-mail addresses. It keeps the rows of an earlier release current
//! until the rebuilt version replaces them.

use store::{Envelope, Row, StoredEvent, TableSchema};

use crate::projection::{PoisonEvent, Projection};

/// The column that is missing.
const EMAIL_VERIFIED: &str = "email_verified";

/// Version 2 of a projection, in a table with the columns of that time.
#[derive(Clone, Copy)]
pub(crate) struct WithoutVerification<P> {
    pub(crate) current: P,
    pub(crate) schema: &'static TableSchema,
    pub(crate) previous: Option<&'static dyn Projection>,
}

impl<P: Projection> Projection for WithoutVerification<P> {
    fn name(&self) -> &'static str {
        self.current.name()
    }

    fn version(&self) -> u32 {
        2
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
        let mut row = self.current.fold(row, event)?;
        if let Some(row) = &mut row {
            row.remove(EMAIL_VERIFIED);
        }
        Ok(row)
    }

    fn previous(&self) -> Option<&'static dyn Projection> {
        self.previous
    }
}

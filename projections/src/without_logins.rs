//! The version of `daily` that does not count logins. It keeps the rows of an earlier release current until the
//! rebuilt version replaces them.

use domain::UserId;
use store::{Envelope, Row, StoredEvent, TableSchema};

use crate::projection::{PoisonEvent, Projection};

/// The column that is missing.
const LOGINS: &str = "logins";

/// Version 2 of a projection, in a table with the columns of that time.
#[derive(Clone, Copy)]
pub(crate) struct WithoutLogins<P> {
    pub(crate) current: P,
    pub(crate) schema: &'static TableSchema,
    pub(crate) previous: Option<&'static dyn Projection>,
}

impl<P: Projection> Projection for WithoutLogins<P> {
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
        let is_login = UserId::from_logins_stream(event.stream.as_str()).is_some();
        if is_login { None } else { self.current.key(event) }
    }

    fn fold(&self, row: Option<Row>, event: &StoredEvent) -> Result<Option<Row>, PoisonEvent> {
        let mut row = self.current.fold(row, event)?;
        if let Some(row) = &mut row {
            row.remove(LOGINS);
        }
        Ok(row)
    }

    fn previous(&self) -> Option<&'static dyn Projection> {
        self.previous
    }
}

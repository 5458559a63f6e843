//! Events as the CLI prints them.

use serde_json::Value;
use store::{LogIdentity, StoredEvent};

use crate::cli::error::CliResult;
use crate::cli::output::Output;
use crate::cli::session::Session;
use crate::cli::table::Table;
use crate::cloud_event::{CloudEvent, Disclosure};

/// Events read at once.
pub(super) const PAGE_SIZE: usize = 500;

/// Prints events, one per line. Operators see personal values, but never secrets.
pub(super) struct EventPrinter {
    log: LogIdentity,
    table: Table<6>,
}

impl EventPrinter {
    pub(super) fn new(json: bool, session: &Session) -> Self {
        let table = Table::new("events", ["POSITION", "TIME", "TYPE", "SUBJECT", "ACTOR", "DATA"], json);
        Self { log: session.services.store.identity(), table }
    }

    pub(super) fn print(&mut self, events: &[StoredEvent], out: &mut Output) -> CliResult {
        for event in events {
            let event = CloudEvent::new(event, self.log, Disclosure::Personal);
            self.table.add(&event, cells, out)?;
        }
        self.table.print_page(out)?;
        out.flush()
    }

    pub(super) fn finish(self, out: &mut Output) -> CliResult {
        self.table.finish(out)
    }
}

fn cells(event: &CloudEvent) -> [String; 6] {
    [
        event.position.to_string(),
        event.time.clone(),
        event.event_type.clone(),
        event.subject.clone(),
        event.actor.clone(),
        Value::Object(event.data.clone()).to_string(),
    ]
}

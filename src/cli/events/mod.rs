//! `aegis events`: the log itself.

mod diff;
mod export;
mod list;
mod offline;
mod replay;
mod tail;
mod verify;

use clap::Subcommand;
use domain::UserId;
use serde_json::Value;
use store::{StoredEvent, StreamId};
use uuid::Uuid;

use super::error::CliError;
use super::output::Output;
use super::session::Session;
use super::table::Table;
use crate::cloud_event::{CloudEvent, Disclosure};
use crate::config::ConfigSources;

/// Events read at once.
const PAGE: usize = 500;

#[derive(Debug, Subcommand)]
pub(super) enum Command {
    /// Print the events of the log in order
    List(list::Arguments),
    /// Print the last events, and with `--follow` those that happen from then on
    Tail(tail::Arguments),
    /// Fold the log and print the state of every user at some point in it
    Replay(replay::Arguments),
    /// Print what the events between two points of the log have made of users
    Diff(diff::Arguments),
    /// Write the log, or a stretch of it, to a file that can be examined and proved elsewhere
    Export(export::Arguments),
    /// Prove that the log is whole, in order and unchanged, and that claims and checkpoints agree with it
    Verify(verify::Arguments),
}

pub(super) async fn run(command: Command, sources: &ConfigSources, out: &mut Output) -> Result<(), CliError> {
    if let Command::Verify(arguments) = &command
        && let Some(offline) = arguments.offline()
    {
        return offline.run(out);
    }
    let session = Session::open(sources).await?;
    let done = match command {
        Command::List(arguments) => list::run(&arguments, &session, out).await,
        Command::Tail(arguments) => tail::run(&arguments, &session, out).await,
        Command::Replay(arguments) => replay::run(&arguments, &session, out).await,
        Command::Diff(arguments) => diff::run(&arguments, &session, out).await,
        // Boxed: it is large, and so would be every future around it.
        Command::Export(arguments) => Box::pin(export::run(&arguments, &session, out)).await,
        Command::Verify(arguments) => verify::run(&arguments, &session, out).await,
    };
    session.close().await;
    done
}

/// Events as they come, one per line. Operators see personal values; secrets are shown to nobody.
struct EventPrinter {
    json: bool,
    log_id: Uuid,
    table: Table<6>,
}

impl EventPrinter {
    fn new(json: bool, session: &Session) -> Self {
        let table = Table::new(["POSITION", "TIME", "TYPE", "SUBJECT", "ACTOR", "DATA"]);
        Self { json, log_id: session.services.store.log_id(), table }
    }

    fn print(&mut self, events: &[StoredEvent], out: &mut Output) -> Result<(), CliError> {
        for event in events {
            let event = CloudEvent::new(event, self.log_id, Disclosure::Personal);
            if self.json {
                out.json(&event)?;
                continue;
            }
            self.table.row([
                event.position().to_string(),
                event.time().to_owned(),
                event.event_type().to_owned(),
                event.subject().to_owned(),
                event.actor().to_owned(),
                Value::Object(event.data().clone()).to_string(),
            ]);
        }
        self.table.print(out)?;
        out.flush()
    }
}

/// A stream by its name, or a user's by their id.
fn stream(text: &str) -> Result<StreamId, String> {
    let name = UserId::parse(text).map_or_else(|_| text.to_owned(), |id| id.stream());
    StreamId::new(name).map_err(|error| error.to_string())
}

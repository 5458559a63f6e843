//! `aegis events tail`: the last events, and those that happen from then on.

use std::time::Duration;

use store::{EventQuery, Position};
use tokio::time::{sleep, timeout};

use super::{EventPrinter, PAGE};
use crate::cli::error::CliError;
use crate::cli::output::{Output, is_stdout_closed};
use crate::cli::session::Session;

/// How often it looks whether anybody still reads, and, should a wake-up get lost, for news.
const POLL_INTERVAL: Duration = Duration::from_secs(1);

/// How many events are printed unless something else was asked for.
const DEFAULT_LINES: u64 = 10;

#[derive(Debug, clap::Args)]
pub(in crate::cli) struct Arguments {
    /// Begin with the events after this position
    #[arg(long, value_name = "POSITION")]
    after: Option<u64>,
    /// Begin with the last so many events
    #[arg(short = 'n', long, value_name = "COUNT", default_value_t = DEFAULT_LINES, conflicts_with = "after")]
    lines: u64,
    /// Go on with events as they happen, until interrupted
    #[arg(short, long)]
    follow: bool,
    /// Print one JSON object per line, in the form of a `CloudEvent`
    #[arg(long)]
    json: bool,
}

pub(super) async fn run(arguments: &Arguments, session: &Session, out: &mut Output) -> Result<(), CliError> {
    tokio::select! {
        ended = print_events(arguments, session, out) => ended,
        // Being interrupted is how it is meant to end.
        interrupted = tokio::signal::ctrl_c() => Ok(interrupted?),
    }
}

async fn print_events(arguments: &Arguments, session: &Session, out: &mut Output) -> Result<(), CliError> {
    let store = &session.services.store;
    let mut updates = store.watch_progress();
    let mut lines = EventPrinter::new(arguments.json, session);
    let head = store.head().await?.position;
    let after = arguments.after.unwrap_or_else(|| head.get().saturating_sub(arguments.lines));
    let after = Position::new(after);
    if after > head {
        return Err(CliError::Failed(format!(
            "the log ends at position {head}, before {after}: it is not the one that you have followed, or it was put back"
        )));
    }
    let mut query = EventQuery { after, limit: PAGE, ..EventQuery::default() };
    loop {
        match store.read(&query).await {
            Ok(events) => {
                lines.print(&events, out)?;
                if let Some(last) = events.last() {
                    query.after = last.envelope.position;
                    continue;
                }
                if !arguments.follow {
                    return Ok(());
                }
            }
            Err(error) if error.is_transient() && arguments.follow => {
                tracing::warn!(%error, "the log cannot be read; trying on");
                sleep(POLL_INTERVAL).await;
            }
            Err(error) => return Err(error.into()),
        }
        if is_stdout_closed() {
            return Err(CliError::OutputClosed);
        }
        // Either way the log is read next: the wake-up says that something happened, not what.
        drop(timeout(POLL_INTERVAL, updates.wait_for(|progress| progress.head > query.after)).await);
    }
}

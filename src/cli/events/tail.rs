//! `aegis events tail`: the last events, and those that happen from then on.

use std::time::Duration;

use store::{EventQuery, Position};
use tokio::time::{sleep, timeout};

use super::{EventLines, PAGE};
use crate::cli::failure::Failure;
use crate::cli::output::{Output, reader_is_gone};
use crate::cli::session::Session;

/// How often it looks whether anybody still reads, and, should a wake-up get lost, for news.
const POLL: Duration = Duration::from_secs(1);

/// How many events are printed unless something else was asked for.
const LINES: u64 = 10;

#[derive(Debug, clap::Args)]
pub(in crate::cli) struct Arguments {
    /// Begin with the events after this position
    #[arg(long, value_name = "POSITION")]
    after: Option<u64>,
    /// Begin with the last so many events
    #[arg(short = 'n', long, value_name = "COUNT", default_value_t = LINES, conflicts_with = "after")]
    lines: u64,
    /// Go on with events as they happen, until interrupted
    #[arg(short, long)]
    follow: bool,
    /// Print one JSON object per line, in the form of a `CloudEvent`
    #[arg(long)]
    json: bool,
}

pub(super) async fn run(arguments: &Arguments, session: &Session, out: &mut Output) -> Result<(), Failure> {
    tokio::select! {
        ended = follow(arguments, session, out) => ended,
        // Being interrupted is how it is meant to end.
        interrupted = tokio::signal::ctrl_c() => Ok(interrupted?),
    }
}

async fn follow(arguments: &Arguments, session: &Session, out: &mut Output) -> Result<(), Failure> {
    let store = &session.node.store;
    let mut signals = store.signals();
    let mut lines = EventLines::new(arguments.json, session);
    let head = store.head().await?.position;
    let after = arguments.after.unwrap_or_else(|| head.get().saturating_sub(arguments.lines));
    let after = Position::new(after);
    if after > head {
        return Err(Failure::Failed(format!(
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
                sleep(POLL).await;
            }
            Err(error) => return Err(error.into()),
        }
        if reader_is_gone() {
            return Err(Failure::OutputClosed);
        }
        // Either way the log is read next: the wake-up says that something happened, not what.
        drop(timeout(POLL, signals.wait_for(|signal| signal.head > query.after)).await);
    }
}

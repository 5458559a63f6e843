//! `aegis events list` and `tail`.

use std::time::Duration;

use domain::stored_event_types;
use store::{EventQuery, Position, StreamId};
use tokio::time::{sleep, timeout};

use super::output::{EventPrinter, PAGE_SIZE};
use crate::cli::arguments::{event_type, parse_stream};
use crate::cli::error::{CliError, CliResult};
use crate::cli::output::{Output, is_stdout_closed};
use crate::cli::session::Session;

/// How often `tail` checks whether stdout is closed and, in case a notification was lost, reads the log.
const POLL_INTERVAL: Duration = Duration::from_secs(1);

#[derive(Debug, clap::Args)]
pub(crate) struct ListArguments {
    /// Print only events after this position
    #[arg(long, value_name = "POSITION", default_value_t = 0)]
    after: u64,
    /// Print at most this many events
    #[arg(long, value_name = "COUNT")]
    limit: Option<usize>,
    /// Print only events of this type; may be repeated
    #[arg(long = "type", value_name = "TYPE", value_parser = event_type())]
    types: Vec<String>,
    /// Print only events of this stream, such as `system` or `user-…`, or of the user with this id
    #[arg(long, value_name = "STREAM|USER-ID", value_parser = parse_stream)]
    stream: Option<StreamId>,
    /// Print only events caused by this actor, such as `user-…`, `operator:…` or `system`
    #[arg(long)]
    actor: Option<String>,
    /// Print one JSON object per line, as `CloudEvent`s
    #[arg(long)]
    json: bool,
}

#[derive(Debug, clap::Args)]
pub(crate) struct TailArguments {
    /// Start after this position
    #[arg(long, value_name = "POSITION")]
    after: Option<u64>,
    /// Start with the last events, this many
    #[arg(short = 'n', long, value_name = "COUNT", default_value_t = 10, conflicts_with = "after")]
    lines: u64,
    /// Continue with new events as they are appended, until interrupted
    #[arg(short, long)]
    follow: bool,
    /// Print one JSON object per line, as `CloudEvent`s
    #[arg(long)]
    json: bool,
}

pub(super) async fn list(arguments: &ListArguments, session: &Session, out: &mut Output) -> CliResult {
    let mut printer = EventPrinter::new(arguments.json, session);
    let mut left = arguments.limit.unwrap_or(usize::MAX);
    // Events appended from now on are not printed: the list of a busy log would never end.
    let head = session.services.store.head().await?.position;
    let mut query = EventQuery {
        after: Position::new(arguments.after),
        until: Some(head),
        types: stored_event_types(&arguments.types),
        stream: arguments.stream.clone(),
        actor: arguments.actor.clone(),
        ..EventQuery::default()
    };
    while left > 0 && query.after < head {
        query.limit = left.min(PAGE_SIZE);
        let page = session.services.store.page(&query).await?;
        printer.print(&page.events, out)?;
        left -= page.events.len();
        query.after = page.next;
    }
    printer.finish(out)
}

pub(super) async fn tail(arguments: &TailArguments, session: &Session, out: &mut Output) -> CliResult {
    tokio::select! {
        result = print_events(arguments, session, out) => result,
        // The normal end of `--follow`.
        interrupted = tokio::signal::ctrl_c() => Ok(interrupted?),
    }
}

async fn print_events(arguments: &TailArguments, session: &Session, out: &mut Output) -> CliResult {
    let store = &session.services.store;
    let mut updates = store.watch_progress();
    let mut printer = EventPrinter::new(arguments.json, session);
    let head = store.head().await?.position;
    let after = arguments.after.unwrap_or_else(|| head.get().saturating_sub(arguments.lines));
    let after = Position::new(after);
    if after > head {
        let hint =
            ": this is another log than the one that was followed before, or it was restored from a backup";
        return Err(CliError::BeyondHead { position: after, head, hint });
    }
    let mut query = EventQuery { after, limit: PAGE_SIZE, ..EventQuery::default() };
    loop {
        match store.read(&query).await {
            Ok(events) => {
                printer.print(&events, out)?;
                if let Some(last) = events.last() {
                    query.after = last.envelope.position;
                    continue;
                }
                if !arguments.follow {
                    return printer.finish(out);
                }
            }
            Err(error) if error.is_transient() && arguments.follow => {
                tracing::warn!(%error, "cannot read the log; retrying");
                sleep(POLL_INTERVAL).await;
            }
            Err(error) => return Err(error.into()),
        }
        if is_stdout_closed() {
            return Err(CliError::OutputClosed);
        }
        // The log is read in either case: a notification only says that there may be new events.
        drop(timeout(POLL_INTERVAL, updates.wait_for(|progress| progress.head > query.after)).await);
    }
}

//! `aegis events diff`: how users changed between two positions of the log.

use crate::cli::error::{CliError, CliResult};
use crate::cli::output::Output;
use crate::cli::progress::ProgressReporter;
use crate::cli::session::Session;
use crate::cli::table::Table;
use crate::cli::user_output::format_change;
use crate::query::{AsOf, UserDifference};

#[derive(Debug, clap::Args)]
pub(crate) struct Arguments {
    /// Compare users as of this position or time (RFC 3339); 0 is before the first event
    #[arg(long, value_name = "POSITION|TIME")]
    from: AsOf,
    /// with users as of this position or time; default: the head of the log
    #[arg(long, value_name = "POSITION|TIME")]
    to: Option<AsOf>,
    /// Print one JSON object per line
    #[arg(long)]
    json: bool,
}

pub(super) async fn run(arguments: &Arguments, session: &Session, out: &mut Output) -> CliResult {
    let history = &session.services.history;
    let from = history.position(arguments.from).await?;
    let to = match arguments.to {
        Some(to) => history.position(to).await?,
        None => session.services.store.head().await?.position,
    };
    if from > to {
        return Err(CliError::ReversedRange { from, to });
    }
    let mut progress = ProgressReporter::new("events");
    let total = to.get() - from.get();
    let mut on_progress = |next: store::Position| progress.update(next.get() - from.get(), total);
    let differences = history.between(from, to, &mut on_progress).await;
    progress.finish();
    let mut table = Table::new("changes", ["USER", "BECAME", "EVENTS", "CHANGES"], arguments.json);
    let cells = |difference: &UserDifference| {
        let changes = difference.changes.iter().map(format_change).collect::<Vec<_>>().join(", ");
        let became = difference.became.as_str().to_owned();
        [difference.id.clone(), became, difference.events.to_string(), changes]
    };
    differences?.iter().try_for_each(|difference| table.add(difference, cells, out))?;
    table.finish(out)
}

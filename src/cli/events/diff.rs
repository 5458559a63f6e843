//! `aegis events diff`: what a stretch of the log has made of users.

use crate::cli::error::CliError;
use crate::cli::field_change::format_change;
use crate::cli::output::Output;
use crate::cli::progress::ProgressReporter;
use crate::cli::session::Session;
use crate::cli::table::Table;
use crate::query::{AsOf, UserDifference};

#[derive(Debug, clap::Args)]
pub(in crate::cli) struct Arguments {
    /// Users as they were after this position, or at this moment (RFC 3339); 0 is before the first event
    #[arg(long, value_name = "POSITION|TIME")]
    from: AsOf,
    /// Compared with users after this position, or at this moment; without it, at the head
    #[arg(long, value_name = "POSITION|TIME")]
    to: Option<AsOf>,
    /// Print one JSON object per line
    #[arg(long)]
    json: bool,
}

pub(super) async fn run(arguments: &Arguments, session: &Session, out: &mut Output) -> Result<(), CliError> {
    let history = &session.services.history;
    let from = history.position(arguments.from).await.map_err(CliError::because)?;
    let to = match arguments.to {
        Some(to) => history.position(to).await.map_err(CliError::because)?,
        None => session.services.store.head().await?.position,
    };
    if from > to {
        return Err(CliError::Failed(format!(
            "`--from` is at position {from}, after `--to`, at position {to}"
        )));
    }
    let mut progress = ProgressReporter::new("events");
    let all = to.get() - from.get();
    let mut each_page = |next: store::Position| progress.update(next.get() - from.get(), all);
    let found = history.between(from, to, &mut each_page).await;
    progress.finish();
    let mut table = Table::new(["USER", "BECAME", "EVENTS", "CHANGES"]);
    for difference in found.map_err(CliError::because)? {
        if arguments.json {
            out.json(&difference)?;
            continue;
        }
        let UserDifference { id, became, events, changes } = difference;
        let changes = changes.iter().map(format_change).collect::<Vec<_>>().join(", ");
        table.row([id, became.as_str().to_owned(), events.to_string(), changes]);
    }
    table.print(out)?;
    out.flush()
}

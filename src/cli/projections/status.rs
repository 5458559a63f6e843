//! `aegis projections status`: the position, lag and owner of each version of each read model.

use std::io::IsTerminal;
use std::time::Duration;

use crate::cli::error::CliResult;
use crate::cli::output::Output;
use crate::cli::session::Session;
use crate::cli::table::Table;
use crate::query::projections::{self as query, ProjectionStatus, VersionStatus};

const REFRESH_INTERVAL: Duration = Duration::from_secs(1);

#[derive(Debug, clap::Args)]
pub(crate) struct Arguments {
    /// Print one JSON object per read model
    #[arg(long)]
    json: bool,
    /// Refresh the output every second until interrupted
    #[arg(long)]
    watch: bool,
}

pub(super) async fn run(arguments: &Arguments, session: &Session, out: &mut Output) -> CliResult {
    loop {
        let statuses = query::all(&session.services.projection_context, session.env.now()).await?;
        if arguments.watch && !arguments.json && std::io::stdout().is_terminal() {
            out.clear_screen()?;
        }
        print(&statuses, arguments.json, out)?;
        if !arguments.watch {
            return Ok(());
        }
        out.flush()?;
        tokio::time::sleep(REFRESH_INTERVAL).await;
    }
}

fn print(statuses: &[ProjectionStatus], json: bool, out: &mut Output) -> CliResult {
    if json {
        return statuses.iter().try_for_each(|status| out.json(status));
    }
    let columns = ["NAME", "VERSION", "ROLE", "POSITION", "HEAD", "LAG", "AGE", "RATE", "OWNER", "STATE"];
    let mut table = Table::new("read models", columns, false);
    for status in statuses {
        for version in &status.versions {
            table.add_row([
                status.name.clone(),
                version.version.to_string(),
                version.role.to_owned(),
                version.position.to_string(),
                status.head.to_string(),
                version.lag.to_string(),
                format!("{:.1} s", version.lag_seconds),
                format!("{}/s", version.rate),
                status.owner.clone().unwrap_or_else(|| "-".to_owned()),
                state(version),
            ]);
        }
    }
    table.finish(out)
}

fn state(version: &VersionStatus) -> String {
    let progress = match (version.percent, version.eta_seconds) {
        (Some(percent), Some(eta)) => format!(" ({percent} %, {eta} s left)"),
        (Some(percent), None) => format!(" ({percent} %)"),
        (None, _) => String::new(),
    };
    let error = version.error.as_ref().map(|error| format!(": {error}")).unwrap_or_default();
    format!("{}{progress}{error}", version.state)
}

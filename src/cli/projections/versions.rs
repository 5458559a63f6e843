//! `aegis projections cancel`, `rollback` and `drop`: which versions of a read model there are.

use std::time::Duration;

use projections::{Projection, lifecycle};
use store::ProjectionVersions;
use tokio::time::sleep;

use super::name::{self, ProjectionArg};
use crate::cli::error::CliError;
use crate::cli::output::Output;
use crate::cli::session::Session;

const POLL_INTERVAL: Duration = Duration::from_millis(50);

#[derive(Debug, clap::Args)]
pub(in crate::cli) struct CancelArguments {
    /// The read model
    #[arg(value_parser = name::parser())]
    name: ProjectionArg,
}

#[derive(Debug, clap::Args)]
pub(in crate::cli) struct RollbackArguments {
    /// The read model
    #[arg(value_parser = name::parser())]
    name: ProjectionArg,
    /// The version to read; the one before the live one if not given
    #[arg(long, value_name = "VERSION")]
    to: Option<u64>,
}

#[derive(Debug, clap::Args)]
pub(in crate::cli) struct DropArguments {
    /// The read model
    #[arg(value_parser = name::parser())]
    name: ProjectionArg,
    /// The version to remove
    version: u64,
}

pub(super) async fn cancel(
    arguments: &CancelArguments,
    session: &Session,
    out: &mut Output,
) -> Result<(), CliError> {
    let ProjectionArg(projection) = arguments.name;
    let versions = lifecycle::cancel(projection, &session.services.projection_context)
        .await
        .map_err(CliError::because)?;
    let versions = wait_until_dropped(projection, session, versions).await?;
    out.line(&format!("the rebuild of {} is canceled: {}", projection.name(), versions.describe()))
}

pub(super) async fn roll_back(
    arguments: &RollbackArguments,
    session: &Session,
    out: &mut Output,
) -> Result<(), CliError> {
    let (ProjectionArg(projection), sources) = (arguments.name, &session.services.projection_context);
    // Where no service keeps it up to date, it is behind the live one, which commands bring up to date by themselves.
    lifecycle::catch_up_ready(projection, sources).await?;
    let changed = lifecycle::roll_back(projection, sources, arguments.to).await;
    let versions = changed.map_err(CliError::because)?;
    out.line(&format!(
        "{} is read from version {} now: {}",
        projection.name(),
        versions.live,
        versions.describe()
    ))
}

pub(super) async fn drop(
    arguments: &DropArguments,
    session: &Session,
    out: &mut Output,
) -> Result<(), CliError> {
    let (ProjectionArg(projection), number) = (arguments.name, arguments.version);
    let changed = lifecycle::drop(projection, &session.services.projection_context, number).await;
    let versions = wait_until_dropped(projection, session, changed.map_err(CliError::because)?).await?;
    out.line(&format!("version {number} of {} is dropped: {}", projection.name(), versions.describe()))
}

/// Waits until the tables are gone. The node that keeps the read model removes them; where no service runs, that is this
/// command.
async fn wait_until_dropped(
    projection: &'static dyn Projection,
    session: &Session,
    mut versions: ProjectionVersions,
) -> Result<ProjectionVersions, CliError> {
    let runner = session.run(projection);
    while versions.is_dropping() {
        sleep(POLL_INTERVAL).await;
        versions =
            session.services.projection_context.rows.versions(projection.name()).await?.unwrap_or(versions);
    }
    runner.stop().await;
    Ok(versions)
}

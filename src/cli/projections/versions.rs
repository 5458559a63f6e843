//! `aegis projections cancel`, `rollback`, `drop` and `skip`.

use std::time::Duration;

use domain::{Reason, Skip};
use projections::{Projection, lifecycle};
use store::ProjectionVersions;
use tokio::time::sleep;

use crate::cli::arguments::ProjectionArg;
use crate::cli::error::{CliError, CliResult};
use crate::cli::output::Output;
use crate::cli::session::Session;
use crate::command::{self, RecordedSkip};

const POLL_INTERVAL: Duration = Duration::from_millis(50);

#[derive(Debug, clap::Args)]
pub(crate) struct CancelArguments {
    /// The name of the read model
    name: ProjectionArg,
}

#[derive(Debug, clap::Args)]
pub(crate) struct RollbackArguments {
    /// The name of the read model
    name: ProjectionArg,
    /// The version to switch to; default: the one before the live one
    #[arg(long, value_name = "VERSION")]
    to: Option<u64>,
}

#[derive(Debug, clap::Args)]
pub(crate) struct DropArguments {
    /// The name of the read model
    name: ProjectionArg,
    /// The number of the version to drop
    version: u64,
}

#[derive(Debug, clap::Args)]
pub(crate) struct SkipArguments {
    /// The name of the read model
    name: ProjectionArg,
    /// The position of the event, as `status` shows it
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..))]
    position: u64,
    /// The reason; stored with the event
    #[arg(long, value_parser = Reason::parse)]
    reason: Reason,
}

pub(super) async fn cancel(arguments: &CancelArguments, session: &Session, out: &mut Output) -> CliResult {
    let ProjectionArg(projection) = arguments.name;
    let versions = lifecycle::cancel(projection, &session.services.projection_context).await?;
    let versions = wait_until_dropped(projection, session, versions).await?;
    out.line(&format!("the rebuild of {} is canceled: {}", projection.name(), versions.describe()))
}

pub(super) async fn roll_back(
    arguments: &RollbackArguments,
    session: &Session,
    out: &mut Output,
) -> CliResult {
    let (ProjectionArg(projection), sources) = (arguments.name, &session.services.projection_context);
    // Without a running service only the live version is kept up to date, by the commands that read it.
    lifecycle::catch_up_ready(projection, sources).await?;
    let versions = lifecycle::roll_back(projection, sources, arguments.to).await?;
    out.line(&format!("{}: version {} is live: {}", projection.name(), versions.live, versions.describe()))
}

pub(super) async fn drop(arguments: &DropArguments, session: &Session, out: &mut Output) -> CliResult {
    let (ProjectionArg(projection), number) = (arguments.name, arguments.version);
    let changed = lifecycle::drop(projection, &session.services.projection_context, number).await;
    let versions = wait_until_dropped(projection, session, changed?).await?;
    out.line(&format!("version {number} of {} is dropped: {}", projection.name(), versions.describe()))
}

pub(super) async fn skip(arguments: SkipArguments, session: &Session, out: &mut Output) -> CliResult {
    let SkipArguments { name: ProjectionArg(projection), position, reason } = arguments;
    let name = projection.name();
    let skip = Skip { projection: name.to_owned(), position, reason };
    let recorded =
        command::skip(projection, &session.services.projection_context, &session.env, &session.context, skip)
            .await?;
    let RecordedSkip { position: recorded_at, already_recorded } = recorded;
    if already_recorded {
        return out.line(&format!(
            "{name} already skips the event at position {position}: recorded at position {recorded_at}"
        ));
    }
    out.line(&format!(
        "{name} skips the event at position {position} (recorded at position {recorded_at}); with a release \
         that can apply the event, `aegis projections rebuild {name}` includes it"
    ))
}

/// Waits until the tables are dropped by the leader of the projection; without a running service, that is
/// this command.
async fn wait_until_dropped(
    projection: &'static dyn Projection,
    session: &Session,
    mut versions: ProjectionVersions,
) -> Result<ProjectionVersions, CliError> {
    let runner = session.run_projector();
    while versions.is_dropping() {
        sleep(POLL_INTERVAL).await;
        versions =
            session.services.projection_context.rows.versions(projection.name()).await?.unwrap_or(versions);
    }
    runner.stop().await;
    Ok(versions)
}

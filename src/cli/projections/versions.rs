//! `aegis projections cancel`, `rollback` and `drop`: which versions of a read model there are.

use std::time::Duration;

use projections::{Projection, models};
use store::Versions;
use tokio::time::sleep;

use super::name::{self, Named};
use crate::cli::failure::Failure;
use crate::cli::output::Output;
use crate::cli::session::Session;

const GLANCE: Duration = Duration::from_millis(50);

#[derive(Debug, clap::Args)]
pub(in crate::cli) struct CancelArguments {
    /// The read model
    #[arg(value_parser = name::parser())]
    name: Named,
}

#[derive(Debug, clap::Args)]
pub(in crate::cli) struct RollbackArguments {
    /// The read model
    #[arg(value_parser = name::parser())]
    name: Named,
    /// The version to read; the one before the live one if not given
    #[arg(long, value_name = "VERSION")]
    to: Option<u64>,
}

#[derive(Debug, clap::Args)]
pub(in crate::cli) struct DropArguments {
    /// The read model
    #[arg(value_parser = name::parser())]
    name: Named,
    /// The version to remove
    version: u64,
}

pub(super) async fn cancel(
    arguments: &CancelArguments,
    session: &Session,
    out: &mut Output,
) -> Result<(), Failure> {
    let Named(projection) = arguments.name;
    let versions = models::cancel(projection, &session.node.sources).await.map_err(Failure::because)?;
    let versions = until_dropped(projection, session, versions).await?;
    out.line(&format!("the rebuild of {} is canceled: {}", projection.name(), versions.describe()))
}

pub(super) async fn roll_back(
    arguments: &RollbackArguments,
    session: &Session,
    out: &mut Output,
) -> Result<(), Failure> {
    let (Named(projection), sources) = (arguments.name, &session.node.sources);
    // Where no service keeps it up to date, it is behind the live one, which commands bring up to date by themselves.
    models::catch_up_kept(projection, sources).await?;
    let changed = models::roll_back(projection, sources, arguments.to).await;
    let versions = changed.map_err(Failure::because)?;
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
) -> Result<(), Failure> {
    let (Named(projection), number) = (arguments.name, arguments.version);
    let changed = models::drop(projection, &session.node.sources, number).await;
    let versions = until_dropped(projection, session, changed.map_err(Failure::because)?).await?;
    out.line(&format!("version {number} of {} is dropped: {}", projection.name(), versions.describe()))
}

/// Waits until the tables are gone. The node that keeps the read model removes them; where no service runs, that is this
/// command.
async fn until_dropped(
    projection: &'static dyn Projection,
    session: &Session,
    mut versions: Versions,
) -> Result<Versions, Failure> {
    let runner = session.run(projection);
    while versions.is_dropping() {
        sleep(GLANCE).await;
        versions = session.node.sources.rows.versions(projection.name()).await?.unwrap_or(versions);
    }
    runner.stop().await;
    Ok(versions)
}

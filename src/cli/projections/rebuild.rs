//! `aegis projections rebuild`: rebuilds a read model as a new version and switches readers to it once it has
//! caught up. The leader of the projection does the work; without a running service, that is this command. An
//! interrupted rebuild is resumed by the next leader.

use std::time::Duration;

use projections::{ChangeError, Projection, ProjectionContext, lifecycle};
use store::{ProjectionVersion, ProjectionVersions, VersionError};
use tokio::time::{Instant, sleep};

use crate::cli::arguments::ProjectionArg;
use crate::cli::error::{CliError, CliResult};
use crate::cli::output::Output;
use crate::cli::progress::{ProgressReporter, per_second};
use crate::cli::session::Session;
use crate::query::projections as status;
use crate::query::projections::VersionStatus;

const POLL_INTERVAL: Duration = Duration::from_millis(100);
/// How long a rebuild may make no progress before its status is checked: longer than a leader election takes.
const STALL_TIMEOUT: Duration = Duration::from_secs(10);

#[derive(Debug, clap::Args)]
pub(crate) struct Arguments {
    /// The name of the read model
    name: ProjectionArg,
}

pub(super) async fn run(arguments: &Arguments, session: &Session, out: &mut Output) -> CliResult {
    let ProjectionArg(projection) = arguments.name;
    let version = start_or_resume(projection, session, out).await?;
    let runner = session.run_projector();
    let mut progress = ProgressReporter::new("events");
    let result = wait_until_live(projection, session, version.number, &mut progress).await;
    let elapsed = progress.finish();
    runner.stop().await;
    let (versions, position) = result?;
    let comparison = match versions.get(version.number).and_then(|version| version.differed) {
        Some(true) => "; the rows DIFFER from those of the previous version",
        Some(false) => "; the rows are the same as before",
        None => "",
    };
    out.line(&format!(
        "{}: version {} is live, rebuilt from {position} events in {:.1} s ({} per second){comparison}",
        projection.name(),
        version.number,
        elapsed.as_secs_f64(),
        per_second(position, elapsed),
    ))?;
    out.line(&format!("other versions are kept up to date until they are dropped: {}", versions.describe()))
}

/// Starts a rebuild, or resumes one that no node is working on.
async fn start_or_resume(
    projection: &'static dyn Projection,
    session: &Session,
    out: &mut Output,
) -> Result<ProjectionVersion, CliError> {
    let context = &session.services.projection_context;
    match lifecycle::rebuild(projection, context, &session.context.actor, session.env.now()).await {
        Ok(versions) => {
            let building = versions.building().cloned();
            building.ok_or_else(|| CliError::RebuildCanceled { name: projection.name() })
        }
        Err(ChangeError::Refused(name, VersionError::AlreadyBuilding(version))) => {
            let status = status::one(projection, context, session.env.now()).await?;
            if let Some(owner) = status.owner {
                let built = status.versions.iter().find(|status| status.version == version.number);
                let percent = built.and_then(|status| status.percent);
                let progress = percent
                    .map_or_else(|| "an unknown position".to_owned(), |percent| format!("{percent} %"));
                return Err(CliError::RebuildRunning { name, version: Box::new(version), owner, progress });
            }
            let ProjectionVersion { number, since, by, .. } = &version;
            out.line(&format!("resuming version {number}, which {by} started at {since}"))?;
            out.flush()?;
            Ok(version)
        }
        Err(error) => Err(error.into()),
    }
}

/// Reports progress until the version is live or canceled. Returns its position then.
async fn wait_until_live(
    projection: &'static dyn Projection,
    session: &Session,
    number: u64,
    progress: &mut ProgressReporter,
) -> Result<(ProjectionVersions, u64), CliError> {
    let ProjectionContext { events, rows, .. } = &session.services.projection_context;
    let (name, table) = (projection.name(), projection.table(number));
    let mut stalled_since = Instant::now();
    let mut before = None;
    loop {
        let versions = rows.versions(name).await?;
        let versions = versions.filter(|versions| versions.get(number).is_some());
        let Some(versions) = versions.filter(|versions| versions.is_building_or_live(number)) else {
            return Err(CliError::RebuildCanceled { name });
        };
        let position = rows.checkpoint(&table).await?.position;
        if versions.live == number {
            return Ok((versions, position.get()));
        }
        progress.update(position.get(), events.progress().head.get());
        if before != Some(position) {
            (before, stalled_since) = (Some(position), Instant::now());
        }
        if stalled_since.elapsed() > STALL_TIMEOUT {
            fail_if_halted(projection, session, number).await?;
        }
        sleep(POLL_INTERVAL).await;
    }
}

/// Returns an error if the rebuild cannot continue by itself.
async fn fail_if_halted(projection: &'static dyn Projection, session: &Session, number: u64) -> CliResult {
    let status = status::one(projection, &session.services.projection_context, session.env.now()).await?;
    match status.versions.into_iter().find(|version| version.version == number) {
        Some(VersionStatus { state: "halted" | "unknown", error: Some(error), .. }) => {
            Err(CliError::RebuildHalted { name: projection.name(), number, error })
        }
        _ => Ok(()),
    }
}

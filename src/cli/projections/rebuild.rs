//! `aegis projections rebuild`: makes a read model anew from the log, beside the one that is read, and puts it in its
//! place once it is as far. The work is done by the node that keeps the read model; where no service runs, that is this
//! command. Interrupted, it is gone on with by whoever comes next.

use std::time::Duration;

use projections::{ChangeError, Projection, ProjectionContext, lifecycle};
use store::{ProjectionVersion, ProjectionVersions, VersionError};
use tokio::time::{Instant, sleep};

use super::name::{self, ProjectionArg};
use crate::cli::error::CliError;
use crate::cli::output::Output;
use crate::cli::progress::{ProgressReporter, per_second};
use crate::cli::session::Session;
use crate::command::CommandContext;
use crate::query::projections as status;
use crate::query::projections::VersionStatus;

/// How often to look.
const POLL_INTERVAL: Duration = Duration::from_millis(100);
/// How long it may be halted, or out of hands, before that is told: longer than a change of hands takes.
const STALL_TIMEOUT: Duration = Duration::from_secs(10);

#[derive(Debug, clap::Args)]
pub(in crate::cli) struct Arguments {
    /// The read model
    #[arg(value_parser = name::parser())]
    name: ProjectionArg,
}

pub(super) async fn run(
    arguments: &Arguments,
    session: &Session,
    context: &CommandContext,
    out: &mut Output,
) -> Result<(), CliError> {
    let ProjectionArg(projection) = arguments.name;
    let version = start_or_resume(projection, session, context, out).await?;
    let runner = session.run(projection);
    let mut progress = ProgressReporter::new("events");
    let outcome = wait_until_live(projection, session, version.number, &mut progress).await;
    let took = progress.finish();
    runner.stop().await;
    let (versions, position) = outcome?;
    let same = match versions.get(version.number).and_then(|version| version.differed) {
        Some(true) => "; the rows of before were DIFFERENT",
        Some(false) => "; the rows are the same as before",
        None => "",
    };
    let rate = per_second(position, took);
    out.line(&format!(
        "{} is read from version {} now, made of {position} events in {:.1} s ({rate} per second){same}",
        projection.name(),
        version.number,
        took.as_secs_f64(),
    ))?;
    out.line(&format!(
        "the other versions are kept up to date until they are dropped: {}",
        versions.describe()
    ))
}

/// Begins a rebuild, or goes on with one that nobody works on.
async fn start_or_resume(
    projection: &'static dyn Projection,
    session: &Session,
    context: &CommandContext,
    out: &mut Output,
) -> Result<ProjectionVersion, CliError> {
    let sources = &session.services.projection_context;
    let begun = lifecycle::rebuild(projection, sources, &context.actor, session.env.now()).await;
    match begun {
        Ok(versions) => {
            let building = versions.building().cloned();
            building.ok_or_else(|| CliError::because("it was canceled at once"))
        }
        Err(ChangeError::Refused(name, VersionError::AlreadyBuilding(version))) => {
            let status = status::one(projection, sources, session.env.now()).await?;
            if let Some(owner) = status.owner {
                return Err(CliError::Failed(format!(
                    "version {} of `{name}` is being built already, since {} by {}; the node {owner} is at it, and at {}. \
                     Watch it with `aegis projections status --watch`, or end it with `aegis projections cancel {name}`",
                    version.number,
                    version.since,
                    version.by,
                    percent_of(&status.versions, version.number),
                )));
            }
            out.line(&format!(
                "going on with version {}, which {} began at {}",
                version.number, version.by, version.since
            ))?;
            out.flush()?;
            Ok(version)
        }
        Err(error) => Err(CliError::because(error)),
    }
}

fn percent_of(versions: &[VersionStatus], number: u64) -> String {
    let version = versions.iter().find(|version| version.version == number);
    let percent = version.and_then(|version| version.percent);
    percent.map_or_else(|| "an unknown place".to_owned(), |percent| format!("{percent} %"))
}

/// Shows the progress until the version is read, or is no more. Gives how far it is then.
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
            return Err(CliError::Failed(format!("version {number} of `{name}` was canceled")));
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

/// Gives up on what cannot go on by itself.
async fn fail_if_halted(
    projection: &'static dyn Projection,
    session: &Session,
    number: u64,
) -> Result<(), CliError> {
    let status = status::one(projection, &session.services.projection_context, session.env.now()).await?;
    let version = status.versions.into_iter().find(|version| version.version == number);
    match version {
        Some(VersionStatus { state: "halted" | "unknown", error: Some(error), .. }) => {
            let name = projection.name();
            Err(CliError::Failed(format!(
                "version {number} of `{name}` cannot be built further: {error}. What there is of it stays, and a program \
                 that knows the event goes on by itself; `aegis projections skip {name}` passes the event over, \
                 `aegis projections cancel {name}` removes the version. `{name}` is read as before"
            )))
        }
        _ => Ok(()),
    }
}

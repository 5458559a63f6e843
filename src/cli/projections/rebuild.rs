//! `aegis projections rebuild`: makes a read model anew from the log, beside the one that is read, and puts it in its
//! place once it is as far. The work is done by the node that keeps the read model; where no service runs, that is this
//! command. Interrupted, it is gone on with by whoever comes next.

use std::time::Duration;

use projections::{ChangeError, Projection, Sources, models};
use store::{Version, Versions, VersionsError};
use tokio::time::{Instant, sleep};

use super::name::{self, Named};
use crate::cli::failure::Failure;
use crate::cli::output::Output;
use crate::cli::progress::{Progress, per_second};
use crate::cli::session::Session;
use crate::command::Cause;
use crate::query::projections as status;
use crate::query::projections::VersionStatus;

/// How often to look.
const GLANCE: Duration = Duration::from_millis(100);
/// How long it may be halted, or out of hands, before that is told: longer than a change of hands takes.
const STUCK: Duration = Duration::from_secs(10);

#[derive(Debug, clap::Args)]
pub(in crate::cli) struct Arguments {
    /// The read model
    #[arg(value_parser = name::parser())]
    name: Named,
}

pub(super) async fn run(
    arguments: &Arguments,
    session: &Session,
    cause: &Cause,
    out: &mut Output,
) -> Result<(), Failure> {
    let Named(projection) = arguments.name;
    let version = begin(projection, session, cause, out).await?;
    let runner = session.run(projection);
    let mut progress = Progress::new("events");
    let outcome = follow(projection, session, version.number, &mut progress).await;
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
async fn begin(
    projection: &'static dyn Projection,
    session: &Session,
    cause: &Cause,
    out: &mut Output,
) -> Result<Version, Failure> {
    let sources = &session.node.sources;
    let begun = models::rebuild(projection, sources, &cause.actor, session.ambient.now()).await;
    match begun {
        Ok(versions) => {
            let building = versions.building().cloned();
            building.ok_or_else(|| Failure::because("it was canceled at once"))
        }
        Err(ChangeError::Refused(name, VersionsError::AlreadyBuilding(version))) => {
            let status = status::one(projection, sources, session.ambient.now()).await?;
            if let Some(owner) = status.owner {
                return Err(Failure::Failed(format!(
                    "version {} of `{name}` is being built already, since {} by {}; the node {owner} is at it, and at {}. \
                     Watch it with `aegis projections status --watch`, or end it with `aegis projections cancel {name}`",
                    version.number,
                    version.since,
                    version.by,
                    at(&status.versions, version.number),
                )));
            }
            out.line(&format!(
                "going on with version {}, which {} began at {}",
                version.number, version.by, version.since
            ))?;
            out.flush()?;
            Ok(version)
        }
        Err(error) => Err(Failure::because(error)),
    }
}

fn at(versions: &[VersionStatus], number: u64) -> String {
    let version = versions.iter().find(|version| version.version == number);
    let percent = version.and_then(|version| version.percent);
    percent.map_or_else(|| "an unknown place".to_owned(), |percent| format!("{percent} %"))
}

/// Shows the progress until the version is read, or is no more. Gives how far it is then.
async fn follow(
    projection: &'static dyn Projection,
    session: &Session,
    number: u64,
    progress: &mut Progress,
) -> Result<(Versions, u64), Failure> {
    let Sources { events, rows, .. } = &session.node.sources;
    let (name, table) = (projection.name(), projection.table(number));
    let mut stuck_since = Instant::now();
    let mut before = None;
    loop {
        let versions = rows.versions(name).await?;
        let versions = versions.filter(|versions| versions.get(number).is_some());
        let Some(versions) = versions.filter(|versions| versions.building_or_live(number)) else {
            return Err(Failure::Failed(format!("version {number} of `{name}` was canceled")));
        };
        let position = rows.checkpoint(&table).await?.position;
        if versions.live == number {
            return Ok((versions, position.get()));
        }
        progress.at(position.get(), events.signal().head.get());
        if before != Some(position) {
            (before, stuck_since) = (Some(position), Instant::now());
        }
        if stuck_since.elapsed() > STUCK {
            check_stuck(projection, session, number).await?;
        }
        sleep(GLANCE).await;
    }
}

/// Gives up on what cannot go on by itself.
async fn check_stuck(
    projection: &'static dyn Projection,
    session: &Session,
    number: u64,
) -> Result<(), Failure> {
    let status = status::one(projection, &session.node.sources, session.ambient.now()).await?;
    let version = status.versions.into_iter().find(|version| version.version == number);
    match version {
        Some(VersionStatus { state: "halted" | "unknown", error: Some(error), .. }) => {
            let name = projection.name();
            Err(Failure::Failed(format!(
                "version {number} of `{name}` cannot be built further: {error}. What there is of it stays, and a program \
                 that knows the event goes on by itself; `aegis projections skip {name}` passes the event over, \
                 `aegis projections cancel {name}` removes the version. `{name}` is read as before"
            )))
        }
        _ => Ok(()),
    }
}

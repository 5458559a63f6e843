//! `aegis projections`: the read models and their versions.

mod rebuild;
mod status;
mod verify;
mod versions;

use clap::Subcommand;

use super::error::CliResult;
use super::output::Output;
use super::session::Session;
use crate::config::ConfigSources;

#[derive(Debug, Subcommand)]
pub(super) enum Command {
    /// Show the position, lag and owner of each version of each read model
    Status(status::Arguments),
    /// Rebuild a read model from the log as a new version and switch readers to it
    Rebuild(rebuild::Arguments),
    /// Cancel a rebuild and drop the version that it was building
    Cancel(versions::CancelArguments),
    /// Replay the log and compare it with every row; exit code 3 if a row differs
    Verify(verify::Arguments),
    /// Switch readers back to the previous version, which is kept up to date until it is dropped
    Rollback(versions::RollbackArguments),
    /// Drop a version that is not live
    Drop(versions::DropArguments),
    /// Skip an event that a projection cannot apply; the decision is recorded as an event
    Skip(versions::SkipArguments),
}

pub(super) async fn run(command: Command, sources: &ConfigSources, out: &mut Output) -> CliResult {
    Session::run(sources, async |session| match command {
        Command::Status(arguments) => status::run(&arguments, session, out).await,
        Command::Rebuild(arguments) => rebuild::run(&arguments, session, out).await,
        Command::Cancel(arguments) => versions::cancel(&arguments, session, out).await,
        Command::Verify(arguments) => verify::run(&arguments, session, out).await,
        Command::Rollback(arguments) => versions::roll_back(&arguments, session, out).await,
        Command::Drop(arguments) => versions::drop(&arguments, session, out).await,
        Command::Skip(arguments) => versions::skip(arguments, session, out).await,
    })
    .await
}

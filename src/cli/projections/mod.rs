//! `aegis projections`: the read models that are made of the log.

mod name;
mod rebuild;
mod skip;
mod status;
mod verify;
mod versions;

use clap::Subcommand;

use super::error::CliError;
use super::operator;
use super::output::Output;
use super::session::Session;
use crate::config::ConfigSources;

#[derive(Debug, Subcommand)]
pub(super) enum Command {
    /// Show how far each version of each read model is, and who keeps it
    Status(status::Arguments),
    /// Make a read model anew from the log, beside the one that is read, and put it in its place
    Rebuild(rebuild::Arguments),
    /// Stop making a read model anew, and remove what there is of it
    Cancel(versions::CancelArguments),
    /// Replay the log and compare every row with it; exit code 3 if one differs
    Verify(verify::Arguments),
    /// Read the version of before, which is kept up to date until it is dropped
    Rollback(versions::RollbackArguments),
    /// Remove a version that is not read
    Drop(versions::DropArguments),
    /// Go on without an event that a read model cannot take in; recorded as an event
    Skip(skip::Arguments),
}

pub(super) async fn run(command: Command, sources: &ConfigSources, out: &mut Output) -> Result<(), CliError> {
    let session = Session::open(sources).await?;
    let context = operator::command_context(sources, &session.env);
    let done = match command {
        Command::Status(arguments) => status::run(&arguments, &session, out).await,
        Command::Rebuild(arguments) => rebuild::run(&arguments, &session, &context, out).await,
        Command::Cancel(arguments) => versions::cancel(&arguments, &session, out).await,
        Command::Verify(arguments) => verify::run(&arguments, &session, out).await,
        Command::Rollback(arguments) => versions::roll_back(&arguments, &session, out).await,
        Command::Drop(arguments) => versions::drop(&arguments, &session, out).await,
        Command::Skip(arguments) => skip::run(arguments, &session, &context, out).await,
    };
    session.close().await;
    done
}

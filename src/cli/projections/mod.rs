//! `aegis projections`: the read models that are made of the log.

mod rebuild;
mod status;

use clap::Subcommand;

use super::failure::Failure;
use super::output::Output;
use super::session::Session;
use crate::config::Sources;

#[derive(Debug, Subcommand)]
pub(super) enum Command {
    /// Show how far each read model is, and whether it moves
    Status(status::Arguments),
    /// Empty a read model and make it anew from the log; a running service answers 503 for what is not in it yet
    Rebuild(rebuild::Arguments),
}

pub(super) async fn run(command: Command, sources: &Sources, out: &mut Output) -> Result<(), Failure> {
    let session = Session::open(sources).await?;
    let done = match command {
        Command::Status(arguments) => status::run(&arguments, &session, out).await,
        Command::Rebuild(arguments) => rebuild::run(&arguments, &session, out).await,
    };
    session.close().await;
    done
}

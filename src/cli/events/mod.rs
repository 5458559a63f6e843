//! `aegis events`: the event log.

mod diff;
mod export;
mod export_proof;
mod list;
mod output;
mod replay;
mod restored;
mod verify;

use clap::Subcommand;

use super::error::CliResult;
use super::output::Output;
use super::session::Session;
use crate::config::ConfigSources;

#[derive(Debug, Subcommand)]
pub(super) enum Command {
    /// Print the events of the log in order
    List(list::ListArguments),
    /// Print the last events and, with `--follow`, new ones as they are appended
    Tail(list::TailArguments),
    /// Replay the log and print the state of every user at a position or time
    Replay(replay::Arguments),
    /// Print how users changed between two positions or times
    Diff(diff::Arguments),
    /// Write the log, or a range of it, to a file that can be verified without the database
    Export(export::Arguments),
    /// Record that the log was restored from a backup: raises its epoch, and resets webhooks beyond its end
    Restored(restored::Arguments),
    /// Verify that the log is complete, ordered and unchanged, and that claims, checkpoints and read models
    /// agree with it
    Verify(verify::Arguments),
}

pub(super) async fn run(command: Command, sources: &ConfigSources, out: &mut Output) -> CliResult {
    if let Command::Verify(arguments) = &command
        && let Some(proof) = arguments.export_proof()
    {
        return proof.run(out);
    }
    Session::run(sources, async |session| match command {
        Command::List(arguments) => list::list(&arguments, session, out).await,
        Command::Tail(arguments) => list::tail(&arguments, session, out).await,
        Command::Replay(arguments) => replay::run(&arguments, session, out).await,
        Command::Diff(arguments) => diff::run(&arguments, session, out).await,
        // Boxed: its large future would otherwise enlarge every future around it.
        Command::Export(arguments) => Box::pin(export::run(&arguments, session, out)).await,
        Command::Restored(arguments) => restored::run(&arguments, session, out).await,
        Command::Verify(arguments) => verify::run(&arguments, session, out).await,
    })
    .await
}

//! `aegis webhooks`: webhooks of all users. State is read from the log, so that the output is current with
//! and without a running service; only the service delivers.

mod change;
mod list;

use clap::Subcommand;

use super::error::CliResult;
use super::output::Output;
use super::session::Session;
use crate::config::ConfigSources;

#[derive(Debug, Subcommand)]
pub(super) enum Command {
    /// Print all webhooks with their delivery state
    List(list::Arguments),
    /// Register a webhook for a user and print its secret, which is shown only once
    Register(change::RegisterArguments),
    /// Delete a webhook and destroy its URL and secrets
    Delete(change::Arguments),
    /// Print the last delivery attempts, newest first
    Deliveries(list::DeliveriesArguments),
    /// Deliver a range of events again
    Replay(change::ReplayArguments),
    /// Cancel the replays that are queued, the one in progress included
    CancelReplays(change::Arguments),
    /// Resume delivery of a suspended webhook, or retry a failing one now
    Resume(change::Arguments),
    /// Replace the secret of a webhook and print the new one; for 24 hours deliveries are signed with both
    RotateSecret(change::Arguments),
}

pub(super) async fn run(command: Command, sources: &ConfigSources, out: &mut Output) -> CliResult {
    Session::run(sources, async |session| match command {
        Command::List(arguments) => list::run(&arguments, session, out).await,
        Command::Register(arguments) => change::register(arguments, session, out).await,
        Command::Delete(arguments) => change::delete(&arguments, session, out).await,
        Command::Deliveries(arguments) => list::deliveries(&arguments, session, out).await,
        Command::Replay(arguments) => change::replay(&arguments, session, out).await,
        Command::CancelReplays(arguments) => change::cancel_replays(&arguments, session, out).await,
        Command::Resume(arguments) => change::resume(&arguments, session, out).await,
        Command::RotateSecret(arguments) => change::rotate_secret(&arguments, session, out).await,
    })
    .await
}

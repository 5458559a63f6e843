//! `aegis webhooks`: what operators do with webhooks, anybody's. They read the log itself, so that what is printed is true
//! with or without a running service; deliveries are made by the service alone.

mod change;
mod deliveries;
mod list;
mod register;

use clap::Subcommand;
use domain::WebhookId;

use super::error::CliError;
use super::operator;
use super::output::Output;
use super::session::Session;
use crate::config::ConfigSources;

#[derive(Debug, Subcommand)]
pub(super) enum Command {
    /// Print all webhooks, with how far they are
    List(list::Arguments),
    /// Register a webhook for a user; its secret is printed this once
    Register(register::Arguments),
    /// Delete a webhook, and destroy its address and its secrets
    Delete(change::Arguments),
    /// Print what was tried last, the newest first
    Deliveries(deliveries::Arguments),
    /// Send the events of a range once more
    Replay(change::ReplayArguments),
    /// Deliver again at once: a webhook that is suspended, or that waits before it tries again
    Resume(change::Arguments),
    /// Give a webhook another secret, and print it; for 24 hours deliveries are signed with both
    RotateSecret(change::Arguments),
}

pub(super) async fn run(command: Command, sources: &ConfigSources, out: &mut Output) -> Result<(), CliError> {
    let session = Session::open(sources).await?;
    let context = operator::command_context(sources, &session.env);
    let done = match command {
        Command::List(arguments) => list::run(&arguments, &session, out).await,
        Command::Register(arguments) => register::run(arguments, &session, &context, out).await,
        Command::Delete(arguments) => change::delete(&arguments, &session, &context, out).await,
        Command::Deliveries(arguments) => deliveries::run(&arguments, &session, out).await,
        Command::Replay(arguments) => change::replay(&arguments, &session, &context, out).await,
        Command::Resume(arguments) => change::resume(&arguments, &session, &context, out).await,
        Command::RotateSecret(arguments) => change::rotate_secret(&arguments, &session, &context, out).await,
    };
    session.close().await;
    done
}

/// A webhook's id on the command line.
fn id(text: &str) -> Result<WebhookId, String> {
    WebhookId::parse(text).map_err(|error| error.to_string())
}

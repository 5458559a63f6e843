//! The command line. One file per subcommand, folders follow its words: `aegis users list` is in `users/list.rs`.
//! Beside them: [`error`] and its exit codes, [`output`], `session` (an opened database for a command),
//! `operator` (who types), `signals`, `table`, `progress` and `logging`.
//!
//! What does not belong here: anything that a request over HTTP needs too.

mod config;
pub mod error;
mod events;
mod field_change;
mod keys;
pub mod logging;
mod operator;
pub mod output;
mod progress;
mod projections;
mod serve;
mod session;
pub mod signals;
mod table;
#[cfg(test)]
mod tests;
mod user_row;
mod users;
mod webhooks;

use std::ffi::OsString;
use std::process::ExitCode;

use clap::{Parser, Subcommand};
use tokio::runtime::Runtime;

use self::error::CliError;
use self::output::Output;
use crate::config::ConfigSources;

/// An event-sourced identity service: sign-up, login, and user events that can be replayed, audited and followed.
#[derive(Debug, Parser)]
#[command(name = "aegis", version, after_help = AFTER_HELP, max_term_width = 110)]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

const AFTER_HELP: &str = "\
`aegis serve` alone is enough to begin: without settings it keeps everything in ./aegis-data. The other commands work \
on the same database, beside a running service or without one.

Settings come from the environment, then .env, then aegis.toml; `aegis config` lists them all.
Exit codes: 0 done, 1 failed, 2 wrong usage, 3 a verification found a fault.";

#[derive(Debug, Subcommand)]
enum Command {
    /// Run the service
    Serve,
    /// Show every setting with its value and where it comes from; secrets are masked
    Config(config::Arguments),
    /// Read the event log
    #[command(subcommand)]
    Events(events::Command),
    /// Look after the read models that are made of the event log
    #[command(subcommand)]
    Projections(projections::Command),
    /// See what the master key wraps, and replace it
    #[command(subcommand)]
    Keys(keys::Command),
    /// Find users, give them roles, close and reopen their accounts
    #[command(subcommand)]
    Users(users::Command),
    /// Look after webhooks: events that the service sends to whoever asks for them
    #[command(subcommand)]
    Webhooks(webhooks::Command),
}

/// Does what the arguments say, the program's name first.
pub fn run(arguments: impl IntoIterator<Item = OsString>) -> ExitCode {
    let command = match Arguments::try_parse_from(arguments) {
        Ok(Arguments { command }) => command,
        Err(error) => {
            // Help that was asked for is no error: it goes to stdout. That nobody reads it, either.
            drop(error.print());
            return ExitCode::from(u8::try_from(error.exit_code()).unwrap_or(error::EXIT_USAGE));
        }
    };
    match run_in_runtime(command) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => error.report(),
    }
}

fn run_in_runtime(command: Command) -> Result<(), CliError> {
    let sources = ConfigSources::from_process()?;
    let runtime = Runtime::new()?;
    let done = runtime.block_on(dispatch(command, &sources, &mut Output::stdout()));
    // Whatever had to be finished is. Shutting the runtime down would take the driver's background tasks apart one by one,
    // and those that are left panic over it; the end of the process is the end of all of them at once.
    std::mem::forget(runtime);
    done
}

async fn dispatch(command: Command, sources: &ConfigSources, out: &mut Output) -> Result<(), CliError> {
    match command {
        Command::Serve => serve::run(sources, out).await?,
        Command::Config(arguments) => config::run(&arguments, sources, out)?,
        Command::Events(command) => Box::pin(events::run(command, sources, out)).await?,
        Command::Projections(command) => Box::pin(projections::run(command, sources, out)).await?,
        Command::Keys(command) => Box::pin(keys::run(command, sources, out)).await?,
        Command::Users(command) => Box::pin(users::run(command, sources, out)).await?,
        Command::Webhooks(command) => Box::pin(webhooks::run(command, sources, out)).await?,
    }
    out.flush()
}

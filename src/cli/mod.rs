//! The command line. The folders follow the words of the commands: `aegis users list` is in `users`. Beside
//! them: `arguments` (shared ones), `error` and its exit codes, `output` and `table`, `session` (an opened database for a command),
//! `operator` (the recorded actor), `process` (logging and signals) and `progress`.
//!
//! Nothing that HTTP requests need belongs here.

mod arguments;
mod config;
mod error;
mod events;
mod keys;
mod operator;
mod output;
pub mod process;
mod progress;
mod projections;
mod serve;
mod session;
mod table;
#[cfg(test)]
mod tests;
mod tokens;
mod user_output;
mod users;
mod webhooks;

use std::ffi::OsString;
use std::process::ExitCode;

use clap::{Parser, Subcommand};
use tokio::runtime::Runtime;

use self::error::CliResult;
use self::output::Output;
use crate::config::ConfigSources;

/// An event-sourced identity service: sign-up, login, and user events that can be replayed, audited and
/// streamed.
#[derive(Debug, Parser)]
#[command(name = "aegis", version, after_help = AFTER_HELP, max_term_width = 110)]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

const AFTER_HELP: &str = "\
`aegis serve` needs no settings: by default it stores everything in ./aegis-data. The other commands work on \
the same database, with or without a running service.

Settings come from the environment, then .env, then aegis.toml; `aegis config` lists all of them.
Exit codes: 0 done, 1 failed, 2 wrong usage, 3 a verification found an error.";

#[derive(Debug, Subcommand)]
enum Command {
    /// Run the service
    Serve,
    /// Show every setting with its value and source; secrets are masked
    Config(config::Arguments),
    /// Read, export and verify the event log
    #[command(subcommand)]
    Events(events::Command),
    /// Inspect, rebuild and verify read models
    #[command(subcommand)]
    Projections(projections::Command),
    /// Inspect and rotate the master key and the keys that sign access tokens
    #[command(subcommand)]
    Keys(keys::Command),
    /// Search and create users, set passwords, change roles, show logins, deactivate, reactivate, unlock and erase
    #[command(subcommand)]
    Users(users::Command),
    /// Issue, list and revoke machine tokens
    #[command(subcommand)]
    Tokens(tokens::Command),
    /// Manage webhooks, which deliver events to subscribers
    #[command(subcommand)]
    Webhooks(webhooks::Command),
}

/// Runs the command given by the arguments, of which the first is the program's name.
pub fn run(arguments: impl IntoIterator<Item = OsString>) -> ExitCode {
    let command = match Arguments::try_parse_from(arguments) {
        Ok(Arguments { command }) => command,
        Err(error) => {
            // Requested help goes to stdout and is not an error; neither is a closed output.
            drop(error.print());
            return ExitCode::from(u8::try_from(error.exit_code()).unwrap_or(error::EXIT_USAGE));
        }
    };
    match run_in_runtime(command) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => error.report(),
    }
}

fn run_in_runtime(command: Command) -> CliResult {
    let sources = ConfigSources::from_process()?;
    let runtime = Runtime::new()?;
    let result = runtime.block_on(dispatch(command, &sources, &mut Output::stdout()));
    // All work is finished. Shutting the runtime down would stop the MongoDB driver's background tasks one by
    // one, and the remaining ones would panic; the end of the process stops them all at once.
    std::mem::forget(runtime);
    result
}

async fn dispatch(command: Command, sources: &ConfigSources, out: &mut Output) -> CliResult {
    match command {
        Command::Serve => serve::run(sources, out).await?,
        Command::Config(arguments) => config::run(&arguments, sources, out)?,
        Command::Events(command) => Box::pin(events::run(command, sources, out)).await?,
        Command::Projections(command) => Box::pin(projections::run(command, sources, out)).await?,
        Command::Keys(command) => Box::pin(keys::run(command, sources, out)).await?,
        Command::Users(command) => Box::pin(users::run(command, sources, out)).await?,
        Command::Tokens(command) => Box::pin(tokens::run(command, sources, out)).await?,
        Command::Webhooks(command) => Box::pin(webhooks::run(command, sources, out)).await?,
    }
    out.flush()
}

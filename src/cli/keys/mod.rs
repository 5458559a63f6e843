//! `aegis keys`: the master key, and the keys that sign access tokens. These commands read the key store directly, so that they work even if the
//! service cannot start.

mod rotate;
mod rotate_signing;
mod status;

use clap::Subcommand;

use super::error::CliResult;
use super::output::Output;
use super::session;
use crate::config::ConfigSources;

#[derive(Debug, Subcommand)]
pub(super) enum Command {
    /// Print which master key wraps which keys, and what to do next; exit code 3 if one is missing
    Status(status::Arguments),
    /// Re-wrap all stored keys with the current master key; services may keep running
    ///
    /// If the master key is stored in the data directory, a new one is generated first. If it comes from
    /// settings, first set the new key as `AEGIS_MASTER_KEY` and the old one as `AEGIS_MASTER_KEY_PREVIOUS`
    /// in every service and restart them. An interrupted rotation is resumed when the command is run again.
    ///
    /// With `--signing`, adds a key that signs access tokens instead, if the service makes these keys (ALGORITHM is
    /// `EdDSA` or `ES256`). It is published at once and signs after 10 minutes, on all nodes and without a restart. The
    /// key before it verifies until its tokens have expired.
    Rotate(rotate::Arguments),
}

pub(super) async fn run(command: Command, sources: &ConfigSources, out: &mut Output) -> CliResult {
    let (settings, database) = session::connect(sources).await?;
    match command {
        Command::Status(arguments) => status::run(&arguments, &settings, &database, out).await,
        Command::Rotate(arguments) if arguments.signing => {
            rotate_signing::run(&arguments, &settings, &database, out).await
        }
        Command::Rotate(arguments) => rotate::run(&arguments, settings, &database, out).await,
    }
}

//! `aegis keys`: the master key. These commands look into the database past the log, so that they work also where no
//! service would start.

mod rotate;
mod status;

use clap::Subcommand;
use store::key_store::KeyId;

use super::error::CliError;
use super::output::Output;
use super::session;
use crate::config::{ConfigSources, MasterKeySetting, SettingSource};

#[derive(Debug, Subcommand)]
pub(super) enum Command {
    /// Print which master key wraps what, and what to do next; exit code 3 if one is missing
    Status(status::Arguments),
    /// Wrap all stored keys by the current master key, beside running services
    ///
    /// Where the data folder keeps the master key, a new one is made first. Where settings name it, put the new one into
    /// `AEGIS_MASTER_KEY` and that of before into `AEGIS_MASTER_KEY_PREVIOUS` of every service, restart them, and run this
    /// then. Interrupted, run it again: it goes on.
    Rotate(rotate::Arguments),
}

pub(super) async fn run(command: Command, sources: &ConfigSources, out: &mut Output) -> Result<(), CliError> {
    let (settings, database) = session::connect(sources).await?;
    match command {
        Command::Status(arguments) => status::run(&arguments, &settings, &database, out).await,
        Command::Rotate(arguments) => rotate::run(&arguments, settings, &database, out).await,
    }
}

/// A key of before that wraps nothing any more: what becomes of it.
fn removal_advice(id: KeyId, masters: &MasterKeySetting) -> Option<String> {
    Some(match masters.source(id)? {
        SettingSource::DataFolder(file) => format!(
            "master key {id} is needed by nothing in this database. Backups from before the rotation need it: keep {} as \
             long as you keep one of them, then delete it",
            file.display()
        ),
        origin => format!(
            "master key {id} is needed by nothing in this database: take it out of AEGIS_MASTER_KEY_PREVIOUS ({origin}). \
             Backups from before the rotation need it: keep it, apart from them, as long as you keep one"
        ),
    })
}

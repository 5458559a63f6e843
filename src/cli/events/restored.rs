//! `aegis events restored`: what has to be recorded after the log was restored from a backup.

use store::WriteError;

use crate::cli::error::{CliError, CliResult};
use crate::cli::output::Output;
use crate::cli::session::Session;

#[derive(Debug, clap::Args)]
pub(crate) struct Arguments {
    /// Confirm that the log was restored: readers of the log stop when they see the new epoch
    #[arg(long, required = true)]
    yes: bool,
}

/// Services hold the epoch and the cursors in memory, so none may run.
pub(super) async fn run(_: &Arguments, session: &Session, out: &mut Output) -> CliResult {
    let services = &session.services;
    let leases = services.projection_context.leases.list_leases().await?;
    if let Some(held) = leases.into_iter().find(|lease| !lease.remaining.is_zero()) {
        return Err(CliError::ServiceRunning { node: held.holder });
    }
    let reset = match services.delivery_context.reset_cursors_ahead_of_log().await {
        Ok(reset) => reset,
        Err(WriteError::Conflict) => {
            return Err(CliError::ServiceRunning { node: "another process".to_owned() });
        }
        Err(WriteError::Store(error)) => return Err(error.into()),
    };
    let (epoch, head) = (services.store.raise_epoch().await?, services.store.head().await?.position);
    out.line(&format!(
        "the log ends at position {head} and is in epoch {epoch}; {reset} webhook cursors were beyond its end"
    ))
}

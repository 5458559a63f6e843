//! `aegis users export`: all that is held on one person.

use super::{id_of, user_not_found};
use crate::cli::error::CliError;
use crate::cli::output::Output;
use crate::cli::session::Session;

#[derive(Debug, clap::Args)]
pub(in crate::cli) struct Arguments {
    /// The user's e-mail address or id; of one who was erased, the id
    #[arg(value_name = "EMAIL|ID")]
    user: String,
}

pub(super) async fn run(arguments: &Arguments, session: &Session, out: &mut Output) -> Result<(), CliError> {
    let id = id_of(session, &arguments.user).await?;
    let record = session.services.history.record(id, session.env.now()).await.map_err(CliError::because)?;
    let record = record.ok_or_else(|| user_not_found(&arguments.user))?;
    out.line(&serde_json::to_string_pretty(&record).map_err(CliError::because)?)?;
    out.flush()
}

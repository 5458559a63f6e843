//! `aegis users export`: all that is held on one person.

use super::{id_of, unknown};
use crate::cli::failure::Failure;
use crate::cli::output::Output;
use crate::cli::session::Session;

#[derive(Debug, clap::Args)]
pub(in crate::cli) struct Arguments {
    /// The user's e-mail address or id; of one who was erased, the id
    #[arg(value_name = "EMAIL|ID")]
    user: String,
}

pub(super) async fn run(arguments: &Arguments, session: &Session, out: &mut Output) -> Result<(), Failure> {
    let id = id_of(session, &arguments.user).await?;
    let record = session.node.history.record(id, session.ambient.now()).await.map_err(Failure::because)?;
    let record = record.ok_or_else(|| unknown(&arguments.user))?;
    out.line(&serde_json::to_string_pretty(&record).map_err(Failure::because)?)?;
    out.flush()
}

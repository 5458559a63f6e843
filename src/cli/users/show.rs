//! `aegis users show`: one user, as they are or as they were.

use super::{find, id_of};
use crate::cli::error::CliError;
use crate::cli::output::Output;
use crate::cli::session::Session;
use crate::cli::user_row::UserOutput;
use crate::query::AsOf;

#[derive(Debug, clap::Args)]
pub(in crate::cli) struct Arguments {
    /// The user's e-mail address or id
    #[arg(value_name = "EMAIL|ID")]
    user: String,
    /// As they were after this position, or at this moment (RFC 3339)
    #[arg(long, value_name = "POSITION|TIME")]
    as_of: Option<AsOf>,
    /// Print a JSON object
    #[arg(long)]
    json: bool,
}

pub(super) async fn run(arguments: &Arguments, session: &Session, out: &mut Output) -> Result<(), CliError> {
    let user = match arguments.as_of {
        Some(as_of) => user_as_of(session, &arguments.user, as_of).await?,
        None => UserOutput::from(&find(session, &arguments.user).await?),
    };
    if arguments.json { out.json(&user) } else { user.print(out) }
}

/// The user of that id, or of that e-mail address now, as they were then.
async fn user_as_of(session: &Session, user: &str, as_of: AsOf) -> Result<UserOutput, CliError> {
    let id = id_of(session, user).await?;
    let found = session.services.history.as_of(id, as_of).await.map_err(CliError::because)?;
    let past = found
        .ok_or_else(|| CliError::Failed(format!("at {as_of} there was no user `{user}`, or no longer")))?;
    Ok(UserOutput::from(past))
}

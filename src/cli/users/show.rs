//! `aegis users show`: one user.

use super::find;
use crate::cli::failure::Failure;
use crate::cli::output::Output;
use crate::cli::session::Session;
use crate::cli::user_line::UserLine;

#[derive(Debug, clap::Args)]
pub(in crate::cli) struct Arguments {
    /// The user's e-mail address or id
    #[arg(value_name = "EMAIL|ID")]
    user: String,
    /// Print a JSON object
    #[arg(long)]
    json: bool,
}

pub(super) async fn run(arguments: &Arguments, session: &Session, out: &mut Output) -> Result<(), Failure> {
    let user = UserLine::from(&find(session, &arguments.user).await?);
    if arguments.json { out.json(&user) } else { user.print(out) }
}

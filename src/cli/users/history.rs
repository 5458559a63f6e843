//! `aegis users history`: what has happened to one user.

use super::{id_of, user_not_found};
use crate::cli::error::CliError;
use crate::cli::field_change::{format_change, format_value};
use crate::cli::output::Output;
use crate::cli::session::Session;
use crate::cli::table::Table;
use crate::query::UserChange;

#[derive(Debug, clap::Args)]
pub(in crate::cli) struct Arguments {
    /// The user's e-mail address or id; of one who was erased, the id
    #[arg(value_name = "EMAIL|ID")]
    user: String,
    /// Print one JSON object per line
    #[arg(long)]
    json: bool,
}

pub(super) async fn run(arguments: &Arguments, session: &Session, out: &mut Output) -> Result<(), CliError> {
    let id = id_of(session, &arguments.user).await?;
    let changes = session.services.history.changes(id).await.map_err(CliError::because)?;
    if changes.is_empty() {
        return Err(user_not_found(&arguments.user));
    }
    let mut table = Table::new(["POSITION", "TIME", "TYPE", "ACTOR", "REQUEST", "CHANGES"]);
    for change in changes {
        if arguments.json {
            out.json(&change)?;
            continue;
        }
        let changes = describe_changes(&change);
        let UserChange { position, at, r#type, actor, request_id, .. } = change;
        table.row([position.to_string(), at, r#type, actor, request_id, changes]);
    }
    table.print(out)
}

fn describe_changes(change: &UserChange) -> String {
    let reason = change.reason.as_ref().map(|reason| format!("reason {}", format_value(reason)));
    change.changes.iter().map(format_change).chain(reason).collect::<Vec<_>>().join(", ")
}

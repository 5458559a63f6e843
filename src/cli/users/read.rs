//! `aegis users list`, `show` and `history`.

use domain::{Role, SearchTerm, UserId};

use crate::cli::arguments::one_of;
use crate::cli::error::{CliError, CliResult};
use crate::cli::output::Output;
use crate::cli::session::Session;
use crate::cli::table::Table;
use crate::cli::user_output::{UserOutput, format_change, format_value};
use crate::query::{AsOf, SearchCursor, UserChange, UserSearch};

const PAGE_SIZE: usize = 500;

#[derive(Debug, clap::Args)]
pub(crate) struct ListArguments {
    /// Print at most this many users
    #[arg(long, value_name = "COUNT")]
    limit: Option<usize>,
    /// Print only users after this id
    #[arg(long, value_name = "ID", value_parser = UserId::parse, conflicts_with = "q")]
    after: Option<UserId>,
    /// Print only users whose e-mail address or username begins with this, ordered by what matches
    #[arg(long, value_name = "TEXT")]
    q: Option<String>,
    /// Print only holders of this role
    #[arg(long, value_parser = one_of::<Role>(Role::ALL.map(Role::as_str)))]
    role: Option<Role>,
    /// Print only users who may log in, or only those who may not
    #[arg(long, value_name = "true|false")]
    active: Option<bool>,
    /// Print one JSON object per line
    #[arg(long)]
    json: bool,
}

#[derive(Debug, clap::Args)]
pub(crate) struct ShowArguments {
    /// The user's username, e-mail address or id
    #[arg(value_name = "USERNAME|EMAIL|ID")]
    user: String,
    /// Print the user as of this position or time (RFC 3339)
    #[arg(long, value_name = "POSITION|TIME")]
    as_of: Option<AsOf>,
    /// Print a JSON object
    #[arg(long)]
    json: bool,
}

#[derive(Debug, clap::Args)]
pub(crate) struct HistoryArguments {
    /// The user's username, e-mail address or id; for an erased user the id
    #[arg(value_name = "USERNAME|EMAIL|ID")]
    user: String,
    /// Print one JSON object per line
    #[arg(long)]
    json: bool,
}

pub(super) async fn list(arguments: &ListArguments, session: &Session, out: &mut Output) -> CliResult {
    session.catch_up().await?;
    let mut table = UserOutput::table(arguments.json);
    let ListArguments { q, role, active: is_active, .. } = arguments;
    let term = q.as_deref().map(SearchTerm::new);
    let search = UserSearch { term, role: *role, is_active: *is_active, ..UserSearch::default() };
    let mut left = arguments.limit.unwrap_or(usize::MAX);
    let mut from = arguments.after.map(SearchCursor::after_id);
    while left > 0 {
        let page = session.services.user_rows.search(&search, from, left.min(PAGE_SIZE)).await?;
        for user in &page.users {
            table.add(&UserOutput::from(user), UserOutput::row, out)?;
        }
        table.print_page(out)?;
        left -= page.users.len();
        from = page.next;
        if from.is_none() {
            break;
        }
    }
    table.finish(out)
}

pub(super) async fn show(arguments: &ShowArguments, session: &Session, out: &mut Output) -> CliResult {
    let user = match arguments.as_of {
        None => UserOutput::from(&session.user(&arguments.user).await?),
        Some(as_of) => {
            let id = session.user_id(&arguments.user).await?;
            let user = session.services.history.as_of(id, as_of).await?;
            let not_found = || CliError::UserNotFoundAt { user: arguments.user.clone(), as_of };
            UserOutput::from(user.ok_or_else(not_found)?)
        }
    };
    if arguments.json { out.json(&user) } else { user.print(out) }
}

pub(super) async fn history(arguments: &HistoryArguments, session: &Session, out: &mut Output) -> CliResult {
    let id = session.user_id(&arguments.user).await?;
    let changes = session.services.history.changes(id).await?;
    if changes.is_empty() {
        return Err(CliError::UserNotFound(arguments.user.clone()));
    }
    let mut table =
        Table::new("events", ["POSITION", "TIME", "TYPE", "ACTOR", "REQUEST", "CHANGES"], arguments.json);
    let cells = |change: &UserChange| {
        let UserChange { position, at, r#type, actor, request_id, .. } = change.clone();
        [position.to_string(), at, r#type, actor, request_id, describe_changes(change)]
    };
    changes.iter().try_for_each(|change| table.add(change, cells, out))?;
    table.finish(out)
}

fn describe_changes(change: &UserChange) -> String {
    let reason = change.reason.as_ref().map(|reason| format!("reason {}", format_value(reason)));
    change.changes.iter().map(format_change).chain(reason).collect::<Vec<_>>().join(", ")
}

//! `aegis users logins`.

use crate::cli::error::{CliError, CliResult};
use crate::cli::output::Output;
use crate::cli::session::Session;
use crate::cli::table::Table;
use crate::query::LoginRecord;

const PAGE_SIZE: usize = 500;

#[derive(Debug, clap::Args)]
pub(crate) struct Arguments {
    /// The user's username, e-mail address or id; for an erased user the id
    #[arg(value_name = "USERNAME|EMAIL|ID")]
    user: String,
    /// Print at most this many logins
    #[arg(long, value_name = "COUNT", default_value_t = 100)]
    limit: usize,
    /// Print only logins before this number
    #[arg(long, value_name = "NUMBER")]
    before: Option<u64>,
    /// Print one JSON object per line
    #[arg(long)]
    json: bool,
}

pub(super) async fn run(arguments: &Arguments, session: &Session, out: &mut Output) -> CliResult {
    let id = session.user_id(&arguments.user).await?;
    let columns = ["NUMBER", "AT", "POSITION", "RESULT", "ADDRESS", "USER AGENT"];
    let mut table = Table::new("logins", columns, arguments.json);
    let (mut left, mut before) = (arguments.limit, arguments.before);
    while left > 0 {
        let page = session.services.login_history.page(id, before, left.min(PAGE_SIZE)).await?;
        let page = page.ok_or_else(|| CliError::UserNotFound(arguments.user.clone()))?;
        page.logins.iter().try_for_each(|login| table.add(login, cells, out))?;
        table.print_page(out)?;
        left = left.saturating_sub(page.logins.len());
        match page.next {
            Some(next) => before = Some(next),
            None => break,
        }
    }
    table.finish(out)
}

fn cells(login: &LoginRecord) -> [String; 6] {
    let LoginRecord { number, at, position, address, user_agent, .. } = login.clone();
    let shown = |value: Option<String>| value.unwrap_or_else(|| "-".to_owned());
    [number.to_string(), at, position.to_string(), result(login), shown(address), shown(user_agent)]
}

fn result(login: &LoginRecord) -> String {
    match (login.failures, login.reason, login.count) {
        (Some(0), ..) => "succeeded".to_owned(),
        (Some(failures), ..) => format!("succeeded after {failures} failures"),
        (None, reason, Some(count)) => format!("failed {count} times ({})", reason.unwrap_or_default()),
        (None, reason, None) => format!("failed ({})", reason.unwrap_or_default()),
    }
}

//! `aegis users list`: all users, by id.

use domain::UserId;

use crate::cli::failure::Failure;
use crate::cli::output::Output;
use crate::cli::session::Session;
use crate::cli::user_line::{UserLine, UserLines};

/// Rows read at once.
const PAGE: usize = 500;

#[derive(Debug, clap::Args)]
pub(in crate::cli) struct Arguments {
    /// At most so many users
    #[arg(long, value_name = "COUNT")]
    limit: Option<usize>,
    /// Only users after this id
    #[arg(long, value_name = "ID", value_parser = UserId::parse)]
    after: Option<UserId>,
    /// Print one JSON object per line
    #[arg(long)]
    json: bool,
}

pub(super) async fn run(arguments: &Arguments, session: &Session, out: &mut Output) -> Result<(), Failure> {
    session.catch_up().await?;
    let mut lines = UserLines::new(arguments.json);
    let mut left = arguments.limit.unwrap_or(usize::MAX);
    let mut after = arguments.after;
    while left > 0 {
        let size = left.min(PAGE);
        let page = session.node.user_rows.page(after, size).await.map_err(Failure::because)?;
        for user in &page {
            lines.add(&UserLine::from(user), out)?;
            after = Some(user.id);
        }
        lines.print(out)?;
        left -= page.len();
        if page.len() < size {
            break;
        }
    }
    Ok(())
}

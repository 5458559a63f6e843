//! `aegis users list`: all users, by id.

use domain::UserId;

use crate::cli::error::CliError;
use crate::cli::output::Output;
use crate::cli::session::Session;
use crate::cli::user_row::{UserOutput, UserPrinter};

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

pub(super) async fn run(arguments: &Arguments, session: &Session, out: &mut Output) -> Result<(), CliError> {
    session.catch_up().await?;
    let mut lines = UserPrinter::new(arguments.json);
    let mut left = arguments.limit.unwrap_or(usize::MAX);
    let mut after = arguments.after;
    while left > 0 {
        let size = left.min(PAGE);
        let page = session.services.user_rows.page(after, size).await.map_err(CliError::because)?;
        for user in &page {
            lines.add(&UserOutput::from(user), out)?;
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

//! `aegis users export`: all data of one user, or all users in a form that `aegis users import` reads.

use std::pin::pin;

use futures::TryStreamExt;

use crate::cli::error::{CliError, CliResult};
use crate::cli::output::Output;
use crate::cli::session::Session;
use crate::command::record_hash_export;
use crate::export::format::ExportFormat;
use crate::export::users::{ExportedUser, csv_header};

const PAGE_SIZE: usize = 500;

#[derive(Debug, clap::Args)]
pub(crate) struct Arguments {
    /// The user's username, e-mail address or id; for an erased user the id
    #[arg(value_name = "USERNAME|EMAIL|ID", required_unless_present = "all")]
    user: Option<String>,
    /// Print every user, ordered by id, in a form that `aegis users import` reads
    #[arg(long, conflicts_with = "user")]
    all: bool,
    /// With --all: JSON lines, or a table (RFC 4180)
    #[arg(long, value_enum, requires = "all", conflicts_with = "user", default_value_t = ExportFormat::Jsonl)]
    format: ExportFormat,
    /// With --all: include the password hashes. The log records it, with you as the actor
    #[arg(long, requires = "all", requires = "yes")]
    with_hashes: bool,
    /// Confirm: the output lets its readers try to guess the passwords
    #[arg(long, requires = "with_hashes")]
    yes: bool,
}

pub(super) async fn run(arguments: &Arguments, session: &Session, out: &mut Output) -> CliResult {
    match &arguments.user {
        Some(user) => personal_data(user, session, out).await,
        None => all_users(arguments, session, out).await,
    }
}

async fn personal_data(user: &str, session: &Session, out: &mut Output) -> CliResult {
    let id = session.user_id(user).await?;
    let export = session.services.history.export(id, session.env.now()).await?;
    let export = export.ok_or_else(|| CliError::UserNotFound(user.to_owned()))?;
    let mut parts = pin!(export.into_json());
    while let Some(part) = parts.try_next().await? {
        out.text(&part)?;
    }
    out.flush()
}

async fn all_users(arguments: &Arguments, session: &Session, out: &mut Output) -> CliResult {
    let Arguments { format, with_hashes, .. } = *arguments;
    if with_hashes {
        record_hash_export(&session.services.store, &session.env, &session.context).await?;
    }
    session.catch_up().await?;
    if format == ExportFormat::Csv {
        out.text(&csv_header(with_hashes)?)?;
    }
    let mut after = None;
    loop {
        let page = session.services.user_rows.page(after, PAGE_SIZE).await?;
        let Some(last) = page.last() else { return out.flush() };
        after = Some(last.id);
        for row in &page {
            let user = ExportedUser::new(row, with_hashes);
            match format {
                ExportFormat::Jsonl => out.json(&user)?,
                ExportFormat::Csv => out.text(&user.csv_row(with_hashes)?)?,
            }
        }
    }
}

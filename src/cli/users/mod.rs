//! `aegis users`: what operators do with accounts. They read the rows after bringing them up to date, so that what is
//! printed is true with or without a running service.

mod change;
mod export;
mod history;
mod list;
mod show;

use clap::Subcommand;
use domain::{EmailAddress, UserId};
use projections::UserRow;

use super::error::CliError;
use super::operator;
use super::output::Output;
use super::session::Session;
use crate::config::ConfigSources;

#[derive(Debug, Subcommand)]
pub(super) enum Command {
    /// Print all users, by id
    List(list::Arguments),
    /// Print one user
    Show(show::Arguments),
    /// Print what has happened to a user, and which fields it has changed
    History(history::Arguments),
    /// Print all that is held on a user, for them to read, as one JSON object
    Export(export::Arguments),
    /// Give a user a role
    Grant(change::RoleArguments),
    /// Take a role from a user; their access tokens end
    Revoke(change::RoleArguments),
    /// Keep a user from logging in; their access tokens end
    Deactivate(change::AccountArguments),
    /// Let a user log in again
    Reactivate(change::AccountArguments),
    /// Destroy all that is personal of a user, for ever; their e-mail address and username are free again
    Erase(change::ErasureArguments),
}

pub(super) async fn run(command: Command, sources: &ConfigSources, out: &mut Output) -> Result<(), CliError> {
    let session = Session::open(sources).await?;
    let context = operator::command_context(sources, &session.env);
    let done = match command {
        Command::List(arguments) => list::run(&arguments, &session, out).await,
        Command::Show(arguments) => show::run(&arguments, &session, out).await,
        Command::History(arguments) => history::run(&arguments, &session, out).await,
        Command::Export(arguments) => export::run(&arguments, &session, out).await,
        Command::Grant(arguments) => change::run(arguments.grant(), &session, &context, out).await,
        Command::Revoke(arguments) => change::run(arguments.revoke(), &session, &context, out).await,
        Command::Deactivate(arguments) => change::run(arguments.deactivate(), &session, &context, out).await,
        Command::Reactivate(arguments) => change::run(arguments.reactivate(), &session, &context, out).await,
        Command::Erase(arguments) => change::run(arguments.erase(), &session, &context, out).await,
    };
    session.close().await;
    done
}

/// The user of that e-mail address or id, as the log has them now.
pub(super) async fn find(session: &Session, text: &str) -> Result<UserRow, CliError> {
    session.catch_up().await?;
    let rows = &session.services.user_rows;
    let row = match (UserId::parse(text), EmailAddress::parse(text)) {
        (Ok(id), _) => rows.by_id(id).await,
        (Err(_), Ok(email)) => rows.by_email(&email).await,
        (Err(_), Err(_)) => Ok(None),
    };
    row.map_err(CliError::because)?.ok_or_else(|| user_not_found(text))
}

/// The id of the user of that id, or of that e-mail address now. An id need not be anybody's.
async fn id_of(session: &Session, text: &str) -> Result<UserId, CliError> {
    match UserId::parse(text) {
        Ok(id) => Ok(id),
        Err(_) => Ok(find(session, text).await?.id),
    }
}

fn user_not_found(text: &str) -> CliError {
    CliError::Failed(format!("no user with e-mail address or id `{text}`"))
}

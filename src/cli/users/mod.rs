//! `aegis users`: accounts. Rows are read after the projections have caught up, so that the output is current
//! with and without a running service.

mod change;
mod create;
mod export;
mod import;
mod logins;
mod read;

use clap::Subcommand;

use super::error::CliResult;
use super::output::Output;
use super::session::Session;
use crate::config::ConfigSources;

#[derive(Debug, Subcommand)]
pub(super) enum Command {
    /// Print users, ordered by id, or those that a search finds
    List(read::ListArguments),
    /// Print one user
    Show(read::ShowArguments),
    /// Print the events of a user and the fields that they changed
    History(read::HistoryArguments),
    /// Print the logins of a user, newest first
    Logins(logins::Arguments),
    /// Print all personal data of a user as one JSON object, or with --all every user, as `aegis users import` reads them
    Export(export::Arguments),
    /// Create a user
    Create(create::CreateArguments),
    /// Set the password of a user; invalidates the user's access tokens
    SetPassword(create::SetPasswordArguments),
    /// Import users of another system, from MongoDB or a file; interrupted or repeated, it imports what is missing
    Import(import::Arguments),
    /// Grant a role to a user
    Grant(change::RoleArguments),
    /// Revoke a role from a user; invalidates the user's access tokens
    Revoke(change::RoleArguments),
    /// Prevent a user from logging in; invalidates the user's access tokens
    Deactivate(change::AccountArguments),
    /// Allow a deactivated user to log in again
    Reactivate(change::AccountArguments),
    /// End the delay of a user's logins after repeated failures, on all running nodes
    Unlock(change::UnlockArguments),
    /// Destroy all personal data of a user irrevocably; releases the e-mail address and the username
    Erase(change::ErasureArguments),
}

pub(super) async fn run(command: Command, sources: &ConfigSources, out: &mut Output) -> CliResult {
    Session::run(sources, async |session| match command {
        Command::List(arguments) => read::list(&arguments, session, out).await,
        Command::Show(arguments) => read::show(&arguments, session, out).await,
        Command::History(arguments) => read::history(&arguments, session, out).await,
        Command::Logins(arguments) => logins::run(&arguments, session, out).await,
        Command::Export(arguments) => export::run(&arguments, session, out).await,
        Command::Create(arguments) => create::create(arguments, session, out).await,
        Command::SetPassword(arguments) => create::set_password(arguments, session, out).await,
        Command::Import(arguments) => Box::pin(import::run(arguments, session, out)).await,
        Command::Grant(arguments) => change::run(arguments.grant(), session, out).await,
        Command::Revoke(arguments) => change::run(arguments.revoke(), session, out).await,
        Command::Deactivate(arguments) => change::run(arguments.deactivate(), session, out).await,
        Command::Reactivate(arguments) => change::run(arguments.reactivate(), session, out).await,
        Command::Unlock(arguments) => change::run(arguments.unlock(), session, out).await,
        Command::Erase(arguments) => change::run(arguments.erase(), session, out).await,
    })
    .await
}

//! Finding the user that a command names.

use domain::{EmailAddress, UserId};
use projections::UserRow;

use crate::cli::error::CliError;
use crate::cli::session::Session;

/// The current row of the user with that e-mail address or id.
pub(in crate::cli) async fn find(session: &Session, text: &str) -> Result<UserRow, CliError> {
    session.catch_up().await?;
    let rows = &session.services.user_rows;
    let row = match (UserId::parse(text), EmailAddress::parse(text)) {
        (Ok(id), _) => rows.by_id(id).await?,
        (Err(_), Ok(email)) => rows.by_email(&email).await?,
        (Err(_), Err(_)) => None,
    };
    row.ok_or_else(|| CliError::UserNotFound(text.to_owned()))
}

/// The id itself, which need not belong to a user, or the id of the user who has that e-mail address now.
pub(super) async fn find_id(session: &Session, text: &str) -> Result<UserId, CliError> {
    match UserId::parse(text) {
        Ok(id) => Ok(id),
        Err(_) => Ok(find(session, text).await?.id),
    }
}

//! The tokens in mails, as they are presented. Why one is void is not answered: it is of no use to a person, and would
//! tell something to one who has found an old link.

use crate::app::App;
use crate::command::UserState;
use crate::crypto::{MailPurpose, MailToken};
use crate::http::api_error::ApiError;
use crate::http::extract::load_unknown_key;

/// The content of a token for one of these purposes. Whether a later event has voided it is decided with the command.
pub(crate) async fn verify(app: &App, token: &str, purposes: &[MailPurpose]) -> Result<MailToken, ApiError> {
    load_unknown_key(app, token).await?;
    let verified = MailToken::verify(&app.tokens, token).map_err(|_| ApiError::InvalidMailToken)?;
    let is_current = verified.epoch == app.services()?.store.identity().epoch;
    if is_current && purposes.contains(&verified.purpose) {
        Ok(verified)
    } else {
        Err(ApiError::InvalidMailToken)
    }
}

/// The outcome of a command that a mail token permits. A user who is erased has no valid token.
pub(crate) fn outcome(executed: Result<UserState, ApiError>) -> Result<UserState, ApiError> {
    executed.map_err(|error| match error {
        ApiError::UserNotFound | ApiError::ResourceErased => ApiError::InvalidMailToken,
        error => error,
    })
}

//! Access tokens in HTTP answers: the successful response of OAuth 2.0 (RFC 6749 §5.1).

use domain::UserId;
use serde::Serialize;
use utoipa::ToSchema;

use super::api_error::ApiError;
use crate::app::App;

/// An access token.
#[derive(Serialize, ToSchema)]
#[schema(as = Token)]
pub(crate) struct TokenView {
    /// Send it as `Authorization: Bearer …`.
    access_token: String,
    /// Always `bearer`.
    token_type: &'static str,
    /// The validity in seconds.
    #[schema(minimum = 0)]
    expires_in: i64,
}

impl TokenView {
    /// Issues a token to a user whose stream is at `version`.
    pub(crate) fn issue(app: &App, user: UserId, version: u64) -> Result<Self, ApiError> {
        let epoch = app.services()?.store.identity().epoch;
        let issued = app.tokens.issue(user, version, epoch).map_err(|error| ApiError::internal(&error))?;
        Ok(Self { access_token: issued.token, token_type: "bearer", expires_in: issued.expires_in })
    }
}

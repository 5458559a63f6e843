//! Access tokens in HTTP answers: the successful response of OAuth 2.0 (RFC 6749 §5.1).

use domain::{SessionId, UserId};
use serde::Serialize;
use utoipa::ToSchema;

use super::api_error::ApiError;
use crate::app::App;
use crate::crypto::SessionGrant;

/// The scope that opens a session, as `OpenID` Connect Core §11 names it.
pub(crate) const OFFLINE_ACCESS: &str = "offline_access";

/// An access token, and what renews it if it belongs to a session.
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
    /// Renews the tokens of a session, once.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    refresh_token: Option<String>,
    /// For how many seconds the session stays open if it is not refreshed.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(minimum = 0, nullable = false)]
    refresh_expires_in: Option<i64>,
    /// `offline_access` with a session.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>, nullable = false)]
    scope: Option<&'static str>,
}

impl TokenView {
    /// Issues a token without a session to a user whose stream is at `version`.
    pub(crate) fn issue(app: &App, user: UserId, version: u64) -> Result<Self, ApiError> {
        let epoch = app.services()?.store.identity().epoch;
        let issued = app.tokens.issue(user, version, epoch).map_err(|error| ApiError::internal(&error))?;
        Ok(Self {
            access_token: issued.token,
            token_type: "bearer",
            expires_in: issued.expires_in,
            refresh_token: None,
            refresh_expires_in: None,
            scope: None,
        })
    }

    /// Removes the refresh token, which is answered in another way; with the seconds that it is valid for.
    pub(crate) fn take_refresh_token(&mut self) -> (String, i64) {
        let token = self.refresh_token.take().unwrap_or_default();
        (token, self.refresh_expires_in.take().unwrap_or_default())
    }

    /// Issues a token of a session that is open for another `remaining` seconds.
    pub(crate) fn of_session(
        app: &App,
        user: UserId,
        version: u64,
        id: SessionId,
        remaining: i64,
        refresh_token: String,
    ) -> Result<Self, ApiError> {
        let lifetime = i64::try_from(app.settings.sessions.token_lifetime.as_secs()).unwrap_or(i64::MAX);
        let grant = SessionGrant { id, lifetime_seconds: lifetime.min(remaining) };
        let epoch = app.services()?.store.identity().epoch;
        let issued = app.tokens.issue_for_session(user, version, epoch, grant);
        let issued = issued.map_err(|error| ApiError::internal(&error))?;
        Ok(Self {
            access_token: issued.token,
            token_type: "bearer",
            expires_in: issued.expires_in,
            refresh_token: Some(refresh_token),
            refresh_expires_in: Some(remaining),
            scope: Some(OFFLINE_ACCESS),
        })
    }
}

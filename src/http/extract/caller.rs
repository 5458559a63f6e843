//! The caller: the user of the access token, in the current state of the read model.

use std::collections::BTreeMap;

use axum::extract::FromRequestParts;
use axum::http::request::Parts;
use axum::http::{HeaderMap, header};
use domain::Role;
use projections::UserRow;
use utoipa::IntoResponses;
use utoipa::openapi::{RefOr, Response};

use super::min_position::MinPosition;
use crate::app::App;
use crate::command::CommandContext;
use crate::crypto::VerifiedToken;
use crate::http::api_error::ApiError;
use crate::http::openapi::error_responses;
use crate::http::request_id::RequestId;
use crate::http::state::HttpState;
use crate::http::time_limit::TimeLimit;

/// An active user, authenticated by a token that is not revoked.
pub(crate) struct CurrentUser {
    pub(crate) row: UserRow,
}

impl CurrentUser {
    pub(crate) async fn from_token(app: &App, token: &str) -> Result<Self, ApiError> {
        Self::from_claims(app, app.tokens.verify(token)?).await
    }

    async fn from_claims(app: &App, access: VerifiedToken) -> Result<Self, ApiError> {
        let row = app.services()?.user_rows.by_id(access.user).await?.ok_or(ApiError::UserNotFound)?;
        if !row.is_active {
            return Err(ApiError::InactiveUser);
        }
        if access.version < row.tokens_from {
            return Err(ApiError::TokenRevoked);
        }
        Ok(Self { row })
    }

    pub(crate) fn has(&self, role: Role) -> bool {
        self.row.roles.contains(&role)
    }

    /// The context of commands that the caller issues in this request.
    pub(crate) fn command_context(&self, request_id: &RequestId) -> CommandContext {
        CommandContext::new(self.row.id.stream(), request_id.as_str())
    }
}

impl FromRequestParts<HttpState> for CurrentUser {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, state: &HttpState) -> Result<Self, ApiError> {
        let app = &state.app;
        // Verify the token first, so that unauthenticated requests cannot wait for a position.
        let access = app.tokens.verify(bearer(&parts.headers)?)?;
        let known = async {
            MinPosition::wait(&parts.headers, app.services()?).await?;
            Self::from_claims(app, access).await
        };
        TimeLimit::of(&parts.extensions).read("the caller", known).await
    }
}

impl IntoResponses for CurrentUser {
    fn responses() -> BTreeMap<String, RefOr<Response>> {
        error_responses([
            ("401", "No bearer token"),
            ("403", "`invalid_token`, `inactive_user` or `token_revoked`"),
        ])
    }
}

/// The token of `Authorization: Bearer …`, the scheme in any case (RFC 9110 §11.1).
pub(super) fn bearer(headers: &HeaderMap) -> Result<&str, ApiError> {
    let given = headers.get(header::AUTHORIZATION).map(axum::http::HeaderValue::as_bytes).unwrap_or_default();
    let mut parts = given.splitn(2, |byte| *byte == b' ');
    if !parts.next().is_some_and(|scheme| scheme.eq_ignore_ascii_case(b"bearer")) {
        return Err(ApiError::NotAuthenticated);
    }
    str::from_utf8(parts.next().unwrap_or_default()).map_err(|_| ApiError::InvalidToken)
}

#[cfg(test)]
mod tests {
    use axum::http::HeaderValue;

    use super::*;

    #[test]
    fn the_scheme_is_bearer_in_any_case_and_the_rest_is_the_token() {
        let token = |given: &str| {
            let mut headers = HeaderMap::new();
            headers.insert(header::AUTHORIZATION, HeaderValue::from_bytes(given.as_bytes()).unwrap());
            bearer(&headers).map(str::to_owned)
        };
        for (given, expected) in
            [("Bearer x.y", "x.y"), ("bEARER x", "x"), ("Bearer", ""), ("Bearer  x", " x")]
        {
            assert_eq!(token(given).unwrap(), expected);
        }
        for given in ["", "Basic x", "Token x", "bearerx", "Bearer\tx"] {
            assert!(matches!(token(given), Err(ApiError::NotAuthenticated)), "{given}");
        }
        assert!(matches!(bearer(&HeaderMap::new()), Err(ApiError::NotAuthenticated)));
    }
}

//! Who calls: the user of an access token, as their row shows them now.

use axum::extract::FromRequestParts;
use axum::http::request::Parts;
use axum::http::{HeaderMap, header};
use domain::Role;
use projections::UserRow;

use super::{MinPosition, RequestId};
use crate::app::App;
use crate::command::CommandContext;
use crate::crypto::VerifiedToken;
use crate::http::api_error::ApiError;
use crate::http::state::HttpState;
use crate::http::time_limit::TimeLimit;

/// A user who may act for themselves.
pub(crate) struct CurrentUser {
    pub(crate) row: UserRow,
}

impl CurrentUser {
    /// The user of a token that is still good.
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

    /// What this user does, they do under this request.
    pub(crate) fn command_context(&self, request_id: &RequestId) -> CommandContext {
        CommandContext::new(self.row.id.stream(), request_id.as_str())
    }
}

impl FromRequestParts<HttpState> for CurrentUser {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, state: &HttpState) -> Result<Self, ApiError> {
        let app = &state.app;
        // Nobody waits for a position without a good token.
        let access = app.tokens.verify(bearer(&parts.headers)?)?;
        let known = async {
            MinPosition::wait(&parts.headers, app.services()?).await?;
            Self::from_claims(app, access).await
        };
        TimeLimit::of(&parts.extensions).read("who calls", known).await
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

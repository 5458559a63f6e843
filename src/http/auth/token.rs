//! `POST /auth/token`: the token endpoint of OAuth 2.0 (RFC 6749 §3.2) for its grants `password` (§4.3) and
//! `refresh_token` (§6). Errors are those of §5.2, unlike those of the login form of the FastAPI service.

use std::sync::Arc;

use axum::Json;
use axum::extract::{FromRequest, Request, State};
use axum::http::HeaderMap;

use super::login::{LoginForm, grants_session};
use crate::app::App;
use crate::crypto::Password;
use crate::http::api_error::ApiError;
use crate::http::extract::{Form, MinPosition};
use crate::http::password_client::PasswordClient;
use crate::http::sessions;
use crate::http::state::HttpState;
use crate::http::time_limit::TimeLimit;
use crate::http::token_view::TokenView;

/// A request for tokens.
pub(crate) enum TokenRequest {
    Password(LoginForm),
    RefreshToken(String),
}

impl FromRequest<HttpState> for TokenRequest {
    type Rejection = ApiError;

    async fn from_request(request: Request, state: &HttpState) -> Result<Self, ApiError> {
        let mut form = Form::from_request(request, state).await?;
        match form.require("grant_type")?.as_str() {
            "password" => Ok(Self::Password(LoginForm {
                email: form.require("username")?,
                password: Password::new(form.require("password")?),
                opens_session: grants_session(&mut form),
            })),
            "refresh_token" => Ok(Self::RefreshToken(form.require("refresh_token")?)),
            _ => Err(ApiError::OAuth {
                error: "unsupported_grant_type",
                detail: "`grant_type` must be `password` or `refresh_token`".to_owned(),
            }),
        }
    }
}

/// Issues tokens, for a password or for a refresh token. With the password and the scope `offline_access` a session
/// is opened, whose tokens are renewed by its refresh token. Each refresh token is used once; for 30 seconds it is
/// answered with the same successor, after that its use ends the session.
#[utoipa::path(
    post, path = "/auth/token",
    request_body(content(
        (TokenRequest = "application/x-www-form-urlencoded"),
        (TokenRequest = "multipart/form-data"),
    )),
    params(MinPosition),
    responses(
        (status = 200, description = "Tokens", body = TokenView),
        (status = 400, description = "`invalid_credentials`, `inactive_user`, `invalid_grant`: the refresh token is void; `invalid_request`, `unsupported_grant_type`"),
        (status = 429, description = "`too_many_failures` or `rate_limited`, with `Retry-After`"),
        (status = 503, description = "`busy`, `unavailable` or `projection_behind`"),
    ),
)]
pub(crate) async fn issue_tokens(
    State(app): State<Arc<App>>,
    client: PasswordClient,
    headers: HeaderMap,
    request: TokenRequest,
) -> Result<Json<TokenView>, ApiError> {
    let min_position = MinPosition::from_headers(&headers)?;
    match request {
        TokenRequest::Password(login) => login.log_in(&app, &client, min_position).await.map(Json),
        TokenRequest::RefreshToken(token) => {
            client.admit_refresh(&app)?;
            let refreshed = sessions::refresh(&app, &client.request_id, &token);
            TimeLimit::from_now().read("the session", refreshed).await.map(Json)
        }
    }
}

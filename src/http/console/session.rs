//! `POST /console/login`, `/console/token` and `/console/logout`: the session of the console. The page gets access
//! tokens, and keeps them in memory; the refresh token is in a cookie that scripts cannot read.

use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Response};

use super::cookie::CookieScope;
use super::same_origin::SameOrigin;
use crate::app::App;
use crate::http::api_error::ApiError;
use crate::http::auth::login::LoginForm;
use crate::http::password_client::PasswordClient;
use crate::http::sessions;
use crate::http::time_limit::TimeLimit;
use crate::http::token_view::TokenView;

/// Logs in with a form of `username` (the e-mail address) and `password`, as `POST /auth/login/access-token` with the
/// scope `offline_access` does.
pub(super) async fn log_in(
    State(app): State<Arc<App>>,
    _: SameOrigin,
    cookie: CookieScope,
    client: PasswordClient,
    form: LoginForm,
) -> Result<Response, ApiError> {
    let tokens = form.with_session().log_in(&app, &client, None).await?;
    Ok(answer(cookie, tokens))
}

/// Exchanges the refresh token of the cookie for a new access token.
pub(super) async fn renew(
    State(app): State<Arc<App>>,
    _: SameOrigin,
    cookie: CookieScope,
    client: PasswordClient,
    headers: HeaderMap,
) -> Result<Response, ApiError> {
    let token = cookie.read(&headers).ok_or(ApiError::NotAuthenticated)?;
    client.admit_refresh(&app)?;
    let refreshed = sessions::refresh(&app, &client.request_id, &token);
    match TimeLimit::from_now().read("the session", refreshed).await {
        Ok(tokens) => Ok(answer(cookie, tokens)),
        Err(ApiError::InvalidGrant) => Ok((cookie.clear(), ApiError::InvalidGrant).into_response()),
        Err(error) => Err(error),
    }
}

/// Ends the session of the cookie. A repetition changes nothing.
pub(super) async fn log_out(
    State(app): State<Arc<App>>,
    _: SameOrigin,
    cookie: CookieScope,
    client: PasswordClient,
    headers: HeaderMap,
) -> Result<Response, ApiError> {
    if let Some(token) = cookie.read(&headers) {
        client.admit_refresh(&app)?;
        TimeLimit::from_now().write(sessions::log_out(&app, &client.request_id, &token)).await?;
    }
    Ok((StatusCode::NO_CONTENT, cookie.clear()).into_response())
}

fn answer(cookie: CookieScope, mut tokens: TokenView) -> Response {
    let (refresh_token, seconds) = tokens.take_refresh_token();
    (cookie.set(&refresh_token, seconds), Json(tokens)).into_response()
}

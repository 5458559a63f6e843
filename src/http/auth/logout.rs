//! `POST /auth/logout`, `/auth/logout-all` and `/auth/revoke` (RFC 7009).

use axum::extract::{FromRequest, Request};
use axum::http::StatusCode;
use axum::response::IntoResponse;
use domain::{RevocationReason, SessionId, UserCommand, UserId};

use crate::app::App;
use crate::command::{MachineToken, UserState};
use crate::http::api_error::ApiError;
use crate::http::conditional::IfMatch;
use crate::http::extract::{CurrentUser, Form, LogoutCaller, NoBody};
use crate::http::headers::position_header;
use crate::http::idempotency::{Idempotent, WriteAttempt};
use crate::http::state::HttpState;
use crate::http::time_limit::TimeLimit;

/// Logs out: ends the session of the token. A token without a session is revoked with all others of the user that
/// were issued before. A repetition changes nothing.
#[utoipa::path(
    post, path = "/auth/logout",
    params(IfMatch, WriteAttempt),
    responses(
        (status = 204, description = "The token is void", headers(("Aegis-Position" = u64))),
        LogoutCaller,
        IfMatch,
    ),
)]
pub(crate) async fn log_out(
    caller: LogoutCaller,
    Idempotent { attempt, body: NoBody }: Idempotent<NoBody>,
) -> Result<impl IntoResponse, ApiError> {
    let LogoutCaller::User(user) = caller else { return Ok(logged_out(None)) };
    let command = revocation(&user, RevocationReason::Logout);
    Ok(logged_out(execute(&attempt, user.row.id, &command).await?))
}

/// Logs out everywhere: ends every session and voids every token of the user. A repetition changes nothing. A token
/// whose own session has ended does not suffice.
#[utoipa::path(
    post, path = "/auth/logout-all",
    params(IfMatch, WriteAttempt),
    responses(
        (status = 204, description = "Every token of the user is void", headers(("Aegis-Position" = u64))),
        LogoutCaller,
        IfMatch,
    ),
)]
pub(crate) async fn log_out_everywhere(
    caller: LogoutCaller,
    Idempotent { attempt, body: NoBody }: Idempotent<NoBody>,
) -> Result<impl IntoResponse, ApiError> {
    let user = match caller {
        LogoutCaller::User(user) => user,
        // Nothing is acknowledged that has not happened: other sessions may be open.
        LogoutCaller::SessionEnded => return Err(ApiError::SessionEnded),
        LogoutCaller::LoggedOut => return Ok(logged_out(None)),
    };
    let command = UserCommand::RevokeTokens { presented: Some(user.version) };
    Ok(logged_out(execute(&attempt, user.row.id, &command).await?))
}

/// A refresh token or an access token to be revoked. `token_type_hint` is accepted and not needed.
pub(crate) struct Revocation(String);

impl FromRequest<HttpState> for Revocation {
    type Rejection = ApiError;

    async fn from_request(request: Request, state: &HttpState) -> Result<Self, ApiError> {
        let mut form = Form::from_request(request, state).await?;
        form.require("token").map(Self)
    }
}

/// Revokes a refresh token or an access token (RFC 7009): its session ends, or, for an access token without a session,
/// all tokens of the user. No other authentication is needed than the token. One that is not valid is void already: 200.
#[utoipa::path(
    post, path = "/auth/revoke",
    params(WriteAttempt),
    request_body(content(
        (Revocation = "application/x-www-form-urlencoded"),
        (Revocation = "multipart/form-data"),
    )),
    responses(
        (status = 200, description = "The token is void", headers(("Aegis-Position" = u64))),
        (status = 400, description = "`invalid_request`: no `token`; `unsupported_token_type`: a machine token"),
    ),
)]
pub(crate) async fn revoke_user_token(
    Idempotent { attempt, body: Revocation(token) }: Idempotent<Revocation>,
) -> Result<impl IntoResponse, ApiError> {
    let app = &attempt.state.app;
    let found = TimeLimit::from_now().read("the token", find(app, &token));
    let revoked = match found.await? {
        Some((user, command)) => execute(&attempt, user, &command).await?,
        None => None,
    };
    Ok((StatusCode::OK, position_header(revoked.and_then(|user| user.position)), ()))
}

/// The user of a token, and the command that revokes it; `None` if it is void.
async fn find(app: &App, token: &str) -> Result<Option<(UserId, UserCommand)>, ApiError> {
    let services = app.services()?;
    if let Some((id, _)) = services.sessions.parse_refresh_token(token) {
        let Some(session) = services.sessions.find(id).await? else { return Ok(None) };
        let reason = RevocationReason::Revoked;
        let command = UserCommand::RevokeSession { session: SessionId::from_uuid(id), reason };
        return Ok(UserId::from_stream(session.stream.as_str()).map(|user| (user, command)));
    }
    if MachineToken::parse(token).is_some() {
        return Err(ApiError::OAuth {
            error: "unsupported_token_type",
            detail: "Machine tokens are revoked by administrators: `DELETE /tokens/{id}`".to_owned(),
        });
    }
    match CurrentUser::from_token(app, token).await {
        Ok(user) => Ok(Some((user.row.id, revocation(&user, RevocationReason::Revoked)))),
        Err(error) if error.is_of_client() => Ok(None),
        Err(error) => Err(error),
    }
}

fn revocation(user: &CurrentUser, reason: RevocationReason) -> UserCommand {
    match user.session {
        Some(session) => UserCommand::RevokeSession { session, reason },
        None => UserCommand::RevokeTokens { presented: Some(user.version) },
    }
}

/// Executes the command as the user; `None` if the user was erased meanwhile.
async fn execute(
    attempt: &WriteAttempt,
    user: UserId,
    command: &UserCommand,
) -> Result<Option<UserState>, ApiError> {
    let users = &attempt.state.app.services()?.users;
    let write = async |context| Ok(users.execute(&context, user, command).await?);
    match attempt.execute(&user.stream(), write).await {
        Ok(user) => Ok(Some(user)),
        Err(ApiError::UserNotFound | ApiError::ResourceErased) => Ok(None),
        Err(error) => Err(error),
    }
}

fn logged_out(user: Option<UserState>) -> impl IntoResponse {
    (StatusCode::NO_CONTENT, position_header(user.and_then(|user| user.position)), ())
}

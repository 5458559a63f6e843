//! `POST /users/me/deactivate`

use axum::extract::State;
use axum::http::StatusCode;
use axum::response::IntoResponse;
use domain::UserCommand;

use super::password_confirmation::{PasswordBody, execute_confirmed};
use crate::http::api_error::ApiError;
use crate::http::extract::{CurrentUser, Idempotent, JsonBody, RequestId};
use crate::http::openapi::{ErrorBody, ValidationErrorBody};
use crate::http::state::HttpState;

/// Closes the caller's account to logins, and ends all their tokens.
#[utoipa::path(
    post,
    path = "/users/me/deactivate",
    tag = "users",
    operation_id = "deactivate_me",
    security(("OAuth2PasswordBearer" = [])),
    params(("Idempotency-Key" = Option<String>, Header, description = "Send again under the same key, and it is done once")),
    request_body = PasswordBody,
    responses(
        (status = 204, description = "The account is deactivated", headers(("Aegis-Position" = u64))),
        (status = 400, description = "`wrong_password`", body = ErrorBody),
        (status = 401, description = "No token", body = ErrorBody),
        (status = 403, description = "`invalid_token`, `inactive_user` or `token_revoked`", body = ErrorBody),
        (status = 409, description = "`last_admin`", body = ErrorBody),
        (status = 422, description = "No password", body = ValidationErrorBody),
    ),
)]
pub(crate) async fn deactivate(
    State(state): State<HttpState>,
    user: CurrentUser,
    request_id: RequestId,
    Idempotent { attempt, body: JsonBody(body) }: Idempotent<JsonBody<PasswordBody>>,
) -> Result<impl IntoResponse, ApiError> {
    let command = UserCommand::Deactivate { reason: None };
    let written = execute_confirmed(&state, &user, &request_id, &attempt, body, &command).await?;
    Ok((StatusCode::NO_CONTENT, written, ()))
}

//! `DELETE /users/me`

use axum::extract::State;
use axum::http::StatusCode;
use axum::response::IntoResponse;
use domain::{ErasureReason, UserCommand};

use super::password_confirmation::{PasswordBody, execute_confirmed};
use crate::http::api_error::ApiError;
use crate::http::extract::{CurrentUser, Idempotent, JsonBody, RequestId};
use crate::http::openapi::{ErrorBody, ValidationErrorBody};
use crate::http::state::HttpState;

/// Destroys all that is personal of the caller, for ever. Their tokens end, and others may take their e-mail address and
/// their username. WriteAttempt again, it is answered with 404: the token's user is no more.
#[utoipa::path(
    delete,
    path = "/users/me",
    tag = "users",
    operation_id = "erase_me",
    security(("OAuth2PasswordBearer" = [])),
    params(("Idempotency-Key" = Option<String>, Header, description = "As for every write")),
    request_body = PasswordBody,
    responses(
        (status = 204, description = "The user is erased", headers(("Aegis-Position" = u64))),
        (status = 400, description = "`wrong_password`", body = ErrorBody),
        (status = 401, description = "No token", body = ErrorBody),
        (status = 403, description = "`invalid_token`, `inactive_user` or `token_revoked`", body = ErrorBody),
        (status = 404, description = "The token's user does not exist, or was erased", body = ErrorBody),
        (status = 409, description = "`last_admin`", body = ErrorBody),
        (status = 422, description = "No password", body = ValidationErrorBody),
    ),
)]
pub(crate) async fn erase(
    State(state): State<HttpState>,
    user: CurrentUser,
    request_id: RequestId,
    Idempotent { attempt, body: JsonBody(body) }: Idempotent<JsonBody<PasswordBody>>,
) -> Result<impl IntoResponse, ApiError> {
    let command = UserCommand::Erase { reason: ErasureReason::Request };
    let written = execute_confirmed(&state, &user, &request_id, &attempt, body, &command).await?;
    Ok((StatusCode::NO_CONTENT, written, ()))
}

//! `DELETE /users/me`

use axum::extract::State;
use axum::http::StatusCode;
use axum::response::IntoResponse;
use domain::{Command, ErasureReason};

use super::confirmation::{PasswordBody, confirmed};
use crate::http::extract::{CurrentUser, Once, RequestId, Valid};
use crate::http::openapi::{ErrorBody, ValidationErrorBody};
use crate::http::problem::Problem;
use crate::http::state::HttpState;

/// Destroys all that is personal of the caller, for ever. Their tokens end, and others may take their e-mail address and
/// their username. Sent again, it is answered with 404: the token's user is no more.
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
    Once { sent, body: Valid(body) }: Once<Valid<PasswordBody>>,
) -> Result<impl IntoResponse, Problem> {
    let command = Command::Erase { reason: ErasureReason::Request };
    let written = confirmed(&state, &user, &request_id, &sent, body, &command).await?;
    Ok((StatusCode::NO_CONTENT, written, ()))
}

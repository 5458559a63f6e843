//! `POST /users/{id}/deactivate`

use axum::response::IntoResponse;
use domain::UserCommand;

use super::account_change::AccountChange;
use super::{ReasonBody, UserDetail};
use crate::http::api_error::ApiError;
use crate::http::openapi::{ErrorBody, ValidationErrorBody};

/// Keeps a user from logging in, and ends their tokens. It is no error if that is so already.
#[utoipa::path(
    post,
    path = "/users/{id}/deactivate",
    tag = "users",
    operation_id = "deactivate_user",
    security(("OAuth2PasswordBearer" = [])),
    params(
        ("id" = String, Path, description = "The user's id"),
        ("If-Match" = Option<String>, Header, description = "Only if the user is at this version"),
        ("Idempotency-Key" = Option<String>, Header, description = "Send again under the same key, and it is done once"),
    ),
    request_body = Option<ReasonBody>,
    responses(
        (status = 200, description = "The user may not log in", body = UserDetail,
            headers(("ETag" = String, description = "The version of the user's stream"), ("Aegis-Position" = u64))),
        (status = 401, description = "No token", body = ErrorBody),
        (status = 403, description = "A bad token, or no administrator", body = ErrorBody),
        (status = 404, description = "No such user", body = ErrorBody),
        (status = 409, description = "`last_admin`", body = ErrorBody),
        (status = 412, description = "`version_mismatch`", body = ErrorBody),
        (status = 422, description = "A bad reason", body = ValidationErrorBody),
    ),
)]
pub(crate) async fn deactivate(change: AccountChange) -> Result<impl IntoResponse, ApiError> {
    change.execute(|reason| UserCommand::Deactivate { reason }).await
}

//! `PUT` and `DELETE /users/{id}/roles/{role}`

use axum::extract::State;
use axum::http::StatusCode;
use axum::response::IntoResponse;
use domain::UserCommand;

use super::execute;
use crate::http::api_error::ApiError;
use crate::http::extract::{Admin, Idempotent, IfMatch, NoBody, RequestId, RolePath, UserPath};
use crate::http::headers::{EntityTag, PositionHeader};
use crate::http::openapi::{ErrorBody, ValidationErrorBody};
use crate::http::state::HttpState;

/// Gives a user a role. It is no error if they hold it already.
#[utoipa::path(
    put,
    path = "/users/{id}/roles/{role}",
    tag = "users",
    operation_id = "grant_role",
    security(("OAuth2PasswordBearer" = [])),
    params(
        ("id" = String, Path, description = "The user's id"),
        ("role" = String, Path, description = "`admin`, `auditor`, `operator` or `subscriber`"),
        ("If-Match" = Option<String>, Header, description = "Only if the user is at this version"),
        ("Idempotency-Key" = Option<String>, Header, description = "Send again under the same key, and it is done once"),
    ),
    responses(
        (status = 204, description = "The user holds the role"),
        (status = 401, description = "No token", body = ErrorBody),
        (status = 403, description = "A bad token, or no administrator", body = ErrorBody),
        (status = 404, description = "No such user", body = ErrorBody),
        (status = 412, description = "`version_mismatch`", body = ErrorBody),
        (status = 422, description = "No such role", body = ValidationErrorBody),
    ),
)]
pub(crate) async fn grant(
    State(state): State<HttpState>,
    Admin(admin): Admin,
    UserPath(id): UserPath,
    RolePath(role): RolePath,
    IfMatch(version): IfMatch,
    request_id: RequestId,
    Idempotent { attempt, body: NoBody }: Idempotent<NoBody>,
) -> Result<impl IntoResponse, ApiError> {
    let command = UserCommand::GrantRole { role };
    let user = execute(&state, &attempt, admin.command_context(&request_id), id, &command, version).await?;
    Ok((StatusCode::NO_CONTENT, EntityTag(user.version), PositionHeader(user.position), ()))
}

/// Takes a role from a user, and ends their tokens. It is no error if they do not hold it.
#[utoipa::path(
    delete,
    path = "/users/{id}/roles/{role}",
    tag = "users",
    operation_id = "revoke_role",
    security(("OAuth2PasswordBearer" = [])),
    params(
        ("id" = String, Path, description = "The user's id"),
        ("role" = String, Path, description = "`admin`, `auditor`, `operator` or `subscriber`"),
        ("If-Match" = Option<String>, Header, description = "Only if the user is at this version"),
        ("Idempotency-Key" = Option<String>, Header, description = "Send again under the same key, and it is done once"),
    ),
    responses(
        (status = 204, description = "The user does not hold the role"),
        (status = 401, description = "No token", body = ErrorBody),
        (status = 403, description = "A bad token, or no administrator", body = ErrorBody),
        (status = 404, description = "No such user", body = ErrorBody),
        (status = 409, description = "`last_admin`", body = ErrorBody),
        (status = 412, description = "`version_mismatch`", body = ErrorBody),
        (status = 422, description = "No such role", body = ValidationErrorBody),
    ),
)]
pub(crate) async fn revoke(
    State(state): State<HttpState>,
    Admin(admin): Admin,
    UserPath(id): UserPath,
    RolePath(role): RolePath,
    IfMatch(version): IfMatch,
    request_id: RequestId,
    Idempotent { attempt, body: NoBody }: Idempotent<NoBody>,
) -> Result<impl IntoResponse, ApiError> {
    let command = UserCommand::RevokeRole { role };
    let user = execute(&state, &attempt, admin.command_context(&request_id), id, &command, version).await?;
    Ok((StatusCode::NO_CONTENT, EntityTag(user.version), PositionHeader(user.position), ()))
}

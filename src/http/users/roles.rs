//! `PUT` and `DELETE /users/{id}/roles/{role}`

use axum::extract::State;
use axum::http::StatusCode;
use axum::response::IntoResponse;
use domain::UserCommand;

use super::command::execute;
use crate::http::api_error::ApiError;
use crate::http::extract::{Admin, IfMatch, NoBody, RolePath, UserPath};
use crate::http::headers::{EntityTag, PositionHeader};
use crate::http::idempotency::{Idempotent, WriteAttempt};
use crate::http::request_id::RequestId;
use crate::http::state::HttpState;

/// Grants a role to a user. A repetition changes nothing.
#[utoipa::path(
    put, path = "/users/{id}/roles/{role}",
    params(UserPath, RolePath, IfMatch, WriteAttempt),
    responses((status = 204, description = "The user holds the role"), Admin, UserPath, IfMatch, RolePath),
)]
pub(crate) async fn grant_role(
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

/// Revokes a role of a user, whose tokens become invalid. A repetition changes nothing.
#[utoipa::path(
    delete, path = "/users/{id}/roles/{role}",
    params(UserPath, RolePath, IfMatch, WriteAttempt),
    responses(
        (status = 204, description = "The user does not hold the role"),
        Admin,
        UserPath,
        (status = 409, description = "`last_admin`"),
        IfMatch,
        RolePath,
    ),
)]
pub(crate) async fn revoke_role(
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

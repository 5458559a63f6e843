//! Commands of administrators: `POST /users/{id}/deactivate`, `/reactivate`, `/unlock` and `/erase`, and
//! `PUT` and `DELETE /users/{id}/roles/{role}`.

use axum::Json;
use axum::http::StatusCode;
use axum::response::IntoResponse;
use domain::{ErasureReason, Reason, UserCommand, UserId};
use utoipa::ToSchema;
use utoipa::openapi::{RefOr, Schema};

use super::view::UserDetail;
use crate::command::UserState;
use crate::config::Settings;
use crate::http::api_error::ApiError;
use crate::http::conditional::{IfMatch, entity_tag};
use crate::http::extract::{
    Admin, Caller, FieldReader, FromFields, JsonBody, NoBody, OptionalJsonBody, RolePath, UserPath,
};
use crate::http::headers::position_header;
use crate::http::idempotency::{Idempotent, WriteAttempt};
use crate::http::openapi::builders::one_of;

/// Why the account is changed.
#[derive(ToSchema)]
#[schema(as = ChangeReason)]
pub(crate) struct ReasonBody {
    /// Stored with the event, encrypted as personal data of the user.
    #[schema(
        value_type = Option<String>, min_length = 1, max_length = 500,
        pattern = r"^[^\u0000-\u0008\u000B\u000C\u000E-\u001F\u007F-\u009F]*$",
        examples("asked for it by mail"),
    )]
    reason: Option<Reason>,
}

impl FromFields for ReasonBody {
    fn from_fields(fields: &mut FieldReader, _: &Settings) -> Option<Self> {
        Some(Self { reason: fields.reason("reason") })
    }
}

/// Deactivates a user: logins are rejected and every token of the user becomes invalid. A repetition changes
/// nothing.
#[utoipa::path(
    post, path = "/users/{id}/deactivate",
    params(UserPath, IfMatch, WriteAttempt),
    request_body = Option<ReasonBody>,
    responses(
        (status = 200, description = "The deactivated user", body = UserDetail,
            headers(("ETag" = String), ("Aegis-Position" = u64))),
        Admin,
        UserPath,
        (status = 409, description = "`last_admin`"),
        IfMatch,
        (status = 422, description = "The reason is not valid"),
    ),
)]
pub(crate) async fn deactivate_user(
    Admin(admin): Admin,
    UserPath(id): UserPath,
    Idempotent { attempt, body: OptionalJsonBody(body) }: Idempotent<OptionalJsonBody<ReasonBody>>,
) -> Result<impl IntoResponse, ApiError> {
    let command = UserCommand::Deactivate { reason: body.and_then(|body| body.reason) };
    change_status(&attempt, &admin, id, &command).await
}

/// Reactivates a user, who can log in again; earlier tokens stay invalid. A repetition changes nothing.
#[utoipa::path(
    post, path = "/users/{id}/reactivate",
    params(UserPath, IfMatch, WriteAttempt),
    request_body = Option<ReasonBody>,
    responses(
        (status = 200, description = "The active user", body = UserDetail,
            headers(("ETag" = String), ("Aegis-Position" = u64))),
        Admin,
        UserPath,
        IfMatch,
        (status = 422, description = "The reason is not valid"),
    ),
)]
pub(crate) async fn reactivate_user(
    Admin(admin): Admin,
    UserPath(id): UserPath,
    Idempotent { attempt, body: OptionalJsonBody(body) }: Idempotent<OptionalJsonBody<ReasonBody>>,
) -> Result<impl IntoResponse, ApiError> {
    let command = UserCommand::Reactivate { reason: body.and_then(|body| body.reason) };
    change_status(&attempt, &admin, id, &command).await
}

/// Ends the delay of a user's logins after repeated failures. A repetition changes nothing.
#[utoipa::path(
    post, path = "/users/{id}/unlock",
    params(UserPath, IfMatch, WriteAttempt),
    responses(
        (status = 200, description = "The user", body = UserDetail,
            headers(("ETag" = String), ("Aegis-Position" = u64))),
        Admin,
        UserPath,
        IfMatch,
    ),
)]
pub(crate) async fn unlock_user(
    Admin(admin): Admin,
    UserPath(id): UserPath,
    Idempotent { attempt, body: NoBody }: Idempotent<NoBody>,
) -> Result<impl IntoResponse, ApiError> {
    let answer = change_status(&attempt, &admin, id, &UserCommand::Unlock).await?;
    // Other nodes follow the event.
    attempt.state.app.limits.accounts.unlock(id);
    Ok(answer)
}

/// Ends every session and voids every token of a user, who has to log in again.
#[utoipa::path(
    post, path = "/users/{id}/sessions/revoke",
    params(UserPath, IfMatch, WriteAttempt),
    responses(
        (status = 200, description = "The user", body = UserDetail,
            headers(("ETag" = String), ("Aegis-Position" = u64))),
        Admin,
        UserPath,
        IfMatch,
    ),
)]
pub(crate) async fn revoke_sessions(
    Admin(admin): Admin,
    UserPath(id): UserPath,
    Idempotent { attempt, body: NoBody }: Idempotent<NoBody>,
) -> Result<impl IntoResponse, ApiError> {
    change_status(&attempt, &admin, id, &UserCommand::RevokeTokens { presented: None }).await
}

/// Deactivates, reactivates or unlocks a user; answers with the user.
async fn change_status(
    attempt: &WriteAttempt,
    admin: &Caller,
    id: UserId,
    command: &UserCommand,
) -> Result<impl IntoResponse + use<>, ApiError> {
    let user = execute(attempt, &admin.actor(), id, command).await?;
    let detail = UserDetail::from_state(&user)?;
    Ok((entity_tag(user.version), position_header(user.position), Json(detail)))
}

/// Why the user is erased.
#[derive(ToSchema)]
#[schema(as = Erasure)]
pub(crate) struct ErasureBody {
    /// `request`: the user asked for it; `policy`: a retention rule; `other`. It is stored unencrypted and
    /// never erased.
    #[schema(schema_with = erasure_reason)]
    reason: ErasureReason,
}

fn erasure_reason() -> RefOr<Schema> {
    one_of(ErasureReason::ALL.map(ErasureReason::as_str), "").examples(["request"]).into()
}

impl FromFields for ErasureBody {
    fn from_fields(fields: &mut FieldReader, _: &Settings) -> Option<Self> {
        Some(Self { reason: fields.erasure_reason("reason")? })
    }
}

/// Erases the personal data of a user permanently, by crypto-shredding. The user's tokens become invalid, and
/// the e-mail address and the username can be registered again. The event `UserErased` certifies the erasure;
/// the other events of the user remain in the log, their personal fields unreadable.
#[utoipa::path(
    post, path = "/users/{id}/erase",
    params(UserPath, IfMatch, WriteAttempt),
    request_body = ErasureBody,
    responses(
        (status = 204, description = "The user is erased", headers(("Aegis-Position" = u64))),
        Admin,
        (status = 404, description = "No such user, or already erased"),
        (status = 409, description = "`last_admin`"),
        IfMatch,
        (status = 422, description = "The reason is missing or unknown"),
    ),
)]
pub(crate) async fn erase_user(
    Admin(admin): Admin,
    UserPath(id): UserPath,
    Idempotent { attempt, body: JsonBody(ErasureBody { reason }) }: Idempotent<JsonBody<ErasureBody>>,
) -> Result<impl IntoResponse, ApiError> {
    let command = UserCommand::Erase { reason };
    let position = match execute(&attempt, &admin.actor(), id, &command).await {
        Ok(user) => user.position,
        // An earlier attempt under the same idempotency key has erased the user.
        Err(ApiError::ResourceErased) => None,
        Err(error) => return Err(error),
    };
    Ok((StatusCode::NO_CONTENT, position_header(position), ()))
}

/// Grants a role to a user. A repetition changes nothing.
#[utoipa::path(
    put, path = "/users/{id}/roles/{role}",
    params(UserPath, RolePath, IfMatch, WriteAttempt),
    responses(
        (status = 204, description = "The user holds the role", headers(("ETag" = String), ("Aegis-Position" = u64))),
        Admin,
        UserPath,
        IfMatch,
        RolePath,
    ),
)]
pub(crate) async fn grant_role(
    Admin(admin): Admin,
    UserPath(id): UserPath,
    RolePath(role): RolePath,
    Idempotent { attempt, body: NoBody }: Idempotent<NoBody>,
) -> Result<impl IntoResponse, ApiError> {
    change_role(&attempt, &admin, id, &UserCommand::GrantRole { role }).await
}

/// Revokes a role of a user, whose tokens become invalid. A repetition changes nothing.
#[utoipa::path(
    delete, path = "/users/{id}/roles/{role}",
    params(UserPath, RolePath, IfMatch, WriteAttempt),
    responses(
        (status = 204, description = "The user does not hold the role",
            headers(("ETag" = String), ("Aegis-Position" = u64))),
        Admin,
        UserPath,
        (status = 409, description = "`last_admin`"),
        IfMatch,
        RolePath,
    ),
)]
pub(crate) async fn revoke_role(
    Admin(admin): Admin,
    UserPath(id): UserPath,
    RolePath(role): RolePath,
    Idempotent { attempt, body: NoBody }: Idempotent<NoBody>,
) -> Result<impl IntoResponse, ApiError> {
    change_role(&attempt, &admin, id, &UserCommand::RevokeRole { role }).await
}

/// Grants or revokes a role; answers without a body.
async fn change_role(
    attempt: &WriteAttempt,
    admin: &Caller,
    id: UserId,
    command: &UserCommand,
) -> Result<impl IntoResponse + use<>, ApiError> {
    let user = execute(attempt, &admin.actor(), id, command).await?;
    Ok((StatusCode::NO_CONTENT, entity_tag(user.version), position_header(user.position), ()))
}

/// Executes the caller's command on a user.
pub(super) async fn execute(
    attempt: &WriteAttempt,
    actor: &str,
    id: UserId,
    command: &UserCommand,
) -> Result<UserState, ApiError> {
    let users = &attempt.state.app.services()?.users;
    let write = async |context| Ok(users.execute(&context, id, command).await?);
    attempt.execute(actor, write).await
}

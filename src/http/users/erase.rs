//! `POST /users/{id}/erase`

use axum::extract::State;
use axum::http::StatusCode;
use axum::response::IntoResponse;
use domain::{ErasureReason, UserCommand};
use utoipa::ToSchema;

use super::execute;
use crate::config::Settings;
use crate::http::api_error::ApiError;
use crate::http::extract::{
    Admin, FieldReader, FromFields, Idempotent, IfMatch, JsonBody, RequestId, UserPath,
};
use crate::http::headers::PositionHeader;
use crate::http::openapi::{ErrorBody, ValidationErrorBody};
use crate::http::state::HttpState;

/// Why a user is erased.
#[derive(ToSchema)]
#[schema(as = Erasure)]
pub(crate) struct ErasureBody {
    /// `request`: they asked for it; `policy`: a rule asks for it; `other`. It stays readable for ever.
    #[schema(value_type = String, examples("request"))]
    reason: ErasureReason,
}

impl FromFields for ErasureBody {
    fn from_fields(fields: &mut FieldReader, _: &Settings) -> Option<Self> {
        Some(Self { reason: fields.erasure_reason("reason")? })
    }
}

/// Destroys all that is personal of a user, for ever. Their tokens end, and others may take their e-mail address and their
/// username. The event `UserErased` is the certificate; what else the log says of them stays, unreadable.
#[utoipa::path(
    post,
    path = "/users/{id}/erase",
    tag = "users",
    operation_id = "erase_user",
    security(("OAuth2PasswordBearer" = [])),
    params(
        ("id" = String, Path, description = "The user's id"),
        ("If-Match" = Option<String>, Header, description = "Only if the user is at this version"),
        ("Idempotency-Key" = Option<String>, Header, description = "Send again under the same key, and it is done once"),
    ),
    request_body = ErasureBody,
    responses(
        (status = 204, description = "The user is erased", headers(("Aegis-Position" = u64))),
        (status = 401, description = "No token", body = ErrorBody),
        (status = 403, description = "A bad token, or no administrator", body = ErrorBody),
        (status = 404, description = "No such user, or erased before", body = ErrorBody),
        (status = 409, description = "`last_admin`", body = ErrorBody),
        (status = 412, description = "`version_mismatch`", body = ErrorBody),
        (status = 422, description = "No reason, or none that there is", body = ValidationErrorBody),
    ),
)]
pub(crate) async fn erase(
    State(state): State<HttpState>,
    Admin(admin): Admin,
    UserPath(id): UserPath,
    IfMatch(version): IfMatch,
    request_id: RequestId,
    Idempotent { attempt, body: JsonBody(ErasureBody { reason }) }: Idempotent<JsonBody<ErasureBody>>,
) -> Result<impl IntoResponse, ApiError> {
    let command = UserCommand::Erase { reason };
    let position =
        match execute(&state, &attempt, admin.command_context(&request_id), id, &command, version).await {
            Ok(user) => user.position,
            // This very request, sent before, has made it so.
            Err(ApiError::ResourceErased) => None,
            Err(error) => return Err(error),
        };
    Ok((StatusCode::NO_CONTENT, PositionHeader(position), ()))
}

//! `POST /users/{id}/erase`

use axum::extract::State;
use axum::http::StatusCode;
use axum::response::IntoResponse;
use domain::{ErasureReason, UserCommand};
use utoipa::ToSchema;

use super::command::execute;
use crate::config::Settings;
use crate::http::api_error::ApiError;
use crate::http::extract::{Admin, FieldReader, FromFields, IfMatch, JsonBody, UserPath};
use crate::http::headers::PositionHeader;
use crate::http::idempotency::{Idempotent, WriteAttempt};
use crate::http::request_id::RequestId;
use crate::http::state::HttpState;

/// Why the user is erased.
#[derive(ToSchema)]
#[schema(as = Erasure)]
pub(crate) struct ErasureBody {
    /// `request`: the user asked for it; `policy`: a retention rule; `other`. It is stored unencrypted and
    /// never erased.
    #[schema(value_type = String, examples("request"))]
    reason: ErasureReason,
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
    State(state): State<HttpState>,
    Admin(admin): Admin,
    UserPath(id): UserPath,
    IfMatch(version): IfMatch,
    request_id: RequestId,
    Idempotent { attempt, body: JsonBody(ErasureBody { reason }) }: Idempotent<JsonBody<ErasureBody>>,
) -> Result<impl IntoResponse, ApiError> {
    let command = UserCommand::Erase { reason };
    let context = admin.command_context(&request_id);
    let position = match execute(&state, &attempt, context, id, &command, version).await {
        Ok(user) => user.position,
        // An earlier attempt under the same idempotency key has erased the user.
        Err(ApiError::ResourceErased) => None,
        Err(error) => return Err(error),
    };
    Ok((StatusCode::NO_CONTENT, PositionHeader(position), ()))
}

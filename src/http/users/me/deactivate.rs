//! `POST /users/me/deactivate`

use axum::extract::State;
use axum::http::StatusCode;
use axum::response::IntoResponse;
use domain::Command;
use utoipa::ToSchema;

use crate::config::Settings;
use crate::crypto::Password;
use crate::http::auth::credentials::belong_together;
use crate::http::extract::{CurrentUser, Fields, Once, RequestId, Valid, Validated};
use crate::http::headers::Written;
use crate::http::openapi::{ErrorBody, ValidationErrorBody};
use crate::http::problem::Problem;
use crate::http::state::HttpState;
use crate::http::users::carry_out;

/// The caller's password, once more.
#[derive(ToSchema)]
#[schema(as = PasswordConfirmation)]
pub(crate) struct PasswordBody {
    /// The password that the caller logs in with.
    #[schema(value_type = String, format = Password)]
    password: Password,
}

impl Validated for PasswordBody {
    fn read(fields: &mut Fields, _: &Settings) -> Option<Self> {
        Some(Self { password: fields.password("password")? })
    }
}

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
    Once { sent, body: Valid(PasswordBody { password }) }: Once<Valid<PasswordBody>>,
) -> Result<impl IntoResponse, Problem> {
    if !belong_together(&state.app, password, &user.row).await? {
        return Err(Problem::WrongPassword);
    }
    let command = Command::Deactivate { reason: None };
    let done = carry_out(&state, &sent, user.cause(&request_id), user.row.id, &command, None).await?;
    Ok((StatusCode::NO_CONTENT, Written(done.position), ()))
}

//! `GET /users/me/export`

use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use axum::http::header::CONTENT_DISPOSITION;
use axum::response::IntoResponse;

use crate::app::App;
use crate::http::api_error::ApiError;
use crate::http::extract::CurrentUser;
use crate::http::openapi::ErrorBody;
use crate::query::PersonalRecord;

/// What browsers save it as.
const FILE_NAME: &str = "attachment; filename=\"my-data.json\"";

/// Gives the caller all that is held on them, with all that has happened to their account and all that they have done.
#[utoipa::path(
    get,
    path = "/users/me/export",
    tag = "users",
    operation_id = "export_me",
    security(("OAuth2PasswordBearer" = [])),
    responses(
        (status = 200, description = "All that is held on the caller", body = PersonalRecord),
        (status = 401, description = "No token", body = ErrorBody),
        (status = 403, description = "`invalid_token`, `inactive_user` or `token_revoked`", body = ErrorBody),
        (status = 404, description = "The token's user does not exist, or was erased", body = ErrorBody),
    ),
)]
pub(crate) async fn export(
    State(app): State<Arc<App>>,
    user: CurrentUser,
) -> Result<impl IntoResponse, ApiError> {
    let record = app.services()?.history.record(user.row.id, app.env.now()).await?;
    let record = record.ok_or(ApiError::UserNotFound)?;
    Ok(([(CONTENT_DISPOSITION, FILE_NAME)], Json(record)))
}

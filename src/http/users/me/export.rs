//! `GET /users/me/export`: the data subject's right of access (GDPR, article 15).

use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use axum::http::header::CONTENT_DISPOSITION;
use axum::response::IntoResponse;

use crate::app::App;
use crate::http::api_error::ApiError;
use crate::http::extract::CurrentUser;
use crate::query::PersonalRecord;

const ATTACHMENT: &str = "attachment; filename=\"my-data.json\"";

/// Exports all data stored about the caller: the account, its events, the caller's actions and webhooks.
#[utoipa::path(
    get, path = "/users/me/export",
    responses(
        (status = 200, description = "All data stored about the caller", body = PersonalRecord),
        CurrentUser,
        (status = 404, description = "The token's user does not exist, or is erased"),
    ),
)]
pub(crate) async fn export_me(
    State(app): State<Arc<App>>,
    user: CurrentUser,
) -> Result<impl IntoResponse, ApiError> {
    let record = app.services()?.history.record(user.row.id, app.env.now()).await?;
    Ok(([(CONTENT_DISPOSITION, ATTACHMENT)], Json(record.ok_or(ApiError::UserNotFound)?)))
}

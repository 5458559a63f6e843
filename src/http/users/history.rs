//! `GET /users/{id}/events`

use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use serde::Serialize;
use utoipa::ToSchema;

use crate::app::App;
use crate::http::api_error::ApiError;
use crate::http::extract::{Auditor, UserPath};
use crate::http::openapi::ErrorBody;
use crate::query::UserChange;

/// All that has happened to a user.
#[derive(Serialize, ToSchema)]
#[schema(as = UserHistory)]
pub(crate) struct HistoryBody {
    /// In order.
    events: Vec<UserChange>,
}

/// Shows what has happened to a user: when, by whom, and which fields it has changed. Also of one who was erased, of whom
/// nothing personal is left to be shown.
#[utoipa::path(
    get,
    path = "/users/{id}/events",
    tag = "users",
    operation_id = "user_history",
    security(("OAuth2PasswordBearer" = [])),
    params(("id" = String, Path, description = "The user's id")),
    responses(
        (status = 200, description = "The user's history", body = HistoryBody),
        (status = 401, description = "No token", body = ErrorBody),
        (status = 403, description = "A bad token, or neither administrator nor auditor", body = ErrorBody),
        (status = 404, description = "There never was such a user", body = ErrorBody),
    ),
)]
pub(crate) async fn history(
    State(app): State<Arc<App>>,
    _: Auditor,
    UserPath(id): UserPath,
) -> Result<Json<HistoryBody>, ApiError> {
    let events = app.services()?.history.changes(id).await?;
    if events.is_empty() { Err(ApiError::UserNotFound) } else { Ok(Json(HistoryBody { events })) }
}

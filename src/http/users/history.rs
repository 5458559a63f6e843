//! `GET /users/{id}/events`

use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use serde::Serialize;
use utoipa::ToSchema;

use crate::app::App;
use crate::http::api_error::ApiError;
use crate::http::extract::{Auditor, UserPath};
use crate::query::UserChange;

/// The history of a user.
#[derive(Serialize, ToSchema)]
#[schema(as = UserHistory)]
pub(crate) struct HistoryBody {
    /// Oldest first.
    events: Vec<UserChange>,
}

/// Shows the history of a user: each event with its time, its actor and the fields that it changed. The
/// history of an erased user is shown without personal values.
#[utoipa::path(
    get, path = "/users/{id}/events",
    params(UserPath),
    responses(
        (status = 200, description = "The user's history", body = HistoryBody),
        Auditor,
        (status = 404, description = "There never was such a user"),
    ),
)]
pub(crate) async fn user_history(
    State(app): State<Arc<App>>,
    _: Auditor,
    UserPath(id): UserPath,
) -> Result<Json<HistoryBody>, ApiError> {
    let events = app.services()?.history.changes(id).await?;
    if events.is_empty() {
        return Err(ApiError::UserNotFound);
    }
    Ok(Json(HistoryBody { events }))
}

//! `GET /users/{id}/events`

use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use serde::Serialize;
use serde_json::Value;
use utoipa::ToSchema;

use crate::app::App;
use crate::http::api_error::ApiError;
use crate::http::extract::{Auditor, UserPath};
use crate::query::{FieldChange, UserChange};

/// The history of a user.
#[derive(Serialize, ToSchema)]
#[schema(as = UserHistory)]
pub(crate) struct HistoryBody {
    /// Oldest first.
    events: Vec<UserChangeView>,
}

/// An event of a user, and the fields that it changed.
#[derive(Serialize, ToSchema)]
#[schema(as = UserChange)]
pub(crate) struct UserChangeView {
    /// The event's position in the log.
    position: u64,
    /// The event's version in the user's stream.
    version: u64,
    /// The type of the event.
    #[schema(examples("UserDeactivated"))]
    r#type: String,
    /// When: RFC 3339, UTC.
    #[schema(format = DateTime)]
    at: String,
    /// Who caused it.
    actor: String,
    /// The id of the request that caused it, as in the logs.
    request_id: String,
    /// The reason, if one was given: text, or `{"erased": true}` after an erasure.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<Object>, nullable = false)]
    reason: Option<Value>,
    /// The changed fields.
    changes: Vec<FieldChangeView>,
}

/// A field, before and after the event. Erased values are `{"erased": true}`.
#[derive(Serialize, ToSchema)]
#[schema(as = FieldChange)]
pub(crate) struct FieldChangeView {
    /// `email`, `username`, `password`, `is_active` or `roles`.
    field: &'static str,
    /// The value before; null if there was none. Left out for passwords.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<Object>)]
    from: Option<Value>,
    /// The value after. Left out for passwords.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<Object>)]
    to: Option<Value>,
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
    let changes = app.services()?.history.changes(id).await?;
    if changes.is_empty() {
        return Err(ApiError::UserNotFound);
    }
    Ok(Json(HistoryBody { events: changes.into_iter().map(Into::into).collect() }))
}

impl From<UserChange> for UserChangeView {
    fn from(change: UserChange) -> Self {
        let UserChange { position, version, r#type, at, actor, request_id, reason, changes } = change;
        let changes =
            changes.into_iter().map(|FieldChange { field, from, to }| FieldChangeView { field, from, to });
        Self { position, version, r#type, at, actor, request_id, reason, changes: changes.collect() }
    }
}

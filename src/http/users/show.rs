//! `GET /users/{id}` and `GET /users/{id}/events`

use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use axum::response::{IntoResponse, Response};
use serde::Serialize;
use utoipa::ToSchema;

use super::view::UserDetail;
use crate::app::App;
use crate::http::api_error::{ApiError, Loc};
use crate::http::conditional::{IfNoneMatch, entity_tag};
use crate::http::extract::{Auditor, MinPosition, QueryParams, UserPath};
use crate::query::{QueryError, UserAt, UserChange};

/// A user, now or at an earlier point of the log.
#[derive(Serialize, ToSchema)]
#[serde(untagged)]
#[schema(as = ShownUser)]
pub(crate) enum CurrentOrPastUser {
    /// Without `as_of`.
    Current(UserDetail),
    /// With `as_of`.
    Past(UserAt),
}

/// Shows a user, now or, with `as_of`, at an earlier point of the log.
#[utoipa::path(
    get, path = "/users/{id}",
    params(
        UserPath,
        ("as_of" = Option<String>, Query, description = "A position of the log, or a time (RFC 3339)"),
        MinPosition,
        IfNoneMatch,
    ),
    responses(
        (status = 200, description = "The user", body = CurrentOrPastUser,
            headers(("ETag" = String, description = "The version of the user's stream"))),
        IfNoneMatch,
        Auditor,
        (status = 404, description = "No such user at that point"),
        (status = 422, description = "`as_of` is neither a position of the log nor a time"),
    ),
)]
pub(crate) async fn show_user(
    State(app): State<Arc<App>>,
    _: Auditor,
    UserPath(id): UserPath,
    mut params: QueryParams,
) -> Result<Response, ApiError> {
    let as_of = params.as_of("as_of");
    let as_of = params.finish(as_of)?;
    let services = app.services()?;
    let (version, user) = if let Some(as_of) = as_of {
        let past =
            services.history.as_of(id, as_of).await.map_err(beyond_head)?.ok_or(ApiError::UserNotFound)?;
        (past.version, CurrentOrPastUser::Past(past))
    } else {
        let row = services.user_rows.by_id(id).await?.ok_or(ApiError::UserNotFound)?;
        (row.version, CurrentOrPastUser::Current(UserDetail::from_row(&row)))
    };
    Ok((entity_tag(version), Json(user)).into_response())
}

fn beyond_head(error: QueryError) -> ApiError {
    match error {
        QueryError::BeyondHead { wanted, head } => ApiError::beyond_head(Loc::Query("as_of"), wanted, head),
        error => error.into(),
    }
}

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

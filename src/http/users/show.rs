//! `GET /users/{id}` and `GET /users/{id}/events`

use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use axum::response::IntoResponse;
use serde::Serialize;
use utoipa::ToSchema;
use utoipa::openapi::schema::OneOfBuilder;

use super::view::current_user;
use crate::app::App;
use crate::http::api_error::{ApiError, Loc};
use crate::http::conditional::{IfNoneMatch, entity_tag};
use crate::http::extract::{Auditor, MinPosition, QueryParams, UserPath};
use crate::http::openapi::builders::{either, integer, time};
use crate::http::openapi::parameters::{document_extractors, query_parameter};
use crate::query::{QueryError, UserAt, UserChange};

/// Documents the parameter `as_of`.
pub(crate) struct AsOfParameter;

document_extractors! {
    AsOfParameter: [query_parameter("as_of", as_of_schema())];
}

fn as_of_schema() -> OneOfBuilder {
    let point = either([integer("A position of the log.").into(), time("A time (RFC 3339).").into()]);
    point.description(Some(
        "Shows the user as of this position of the log, or this time (RFC 3339, inclusive)",
    ))
}

/// Shows a user, now or, with `as_of`, at an earlier point of the log.
#[utoipa::path(
    get, path = "/users/{id}",
    params(
        UserPath,
        AsOfParameter,
        MinPosition,
        IfNoneMatch,
    ),
    responses(
        (status = 200, description = "The user", body = UserAt,
            headers(("ETag" = String))),
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
) -> Result<impl IntoResponse, ApiError> {
    let as_of = params.as_of("as_of");
    let as_of = params.finish(as_of)?;
    let services = app.services()?;
    let user = match as_of {
        Some(as_of) => services.history.as_of(id, as_of).await.map_err(beyond_head)?,
        None => services.user_rows.by_id(id).await?.as_deref().map(current_user),
    };
    let user = user.ok_or(ApiError::UserNotFound)?;
    Ok((entity_tag(user.version), Json(user)))
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

//! `GET /users/me/logins` and `GET /users/{id}/logins`

use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use domain::UserId;

use crate::app::App;
use crate::http::api_error::ApiError;
use crate::http::extract::{Auditor, CurrentUser, Limit, MAX_POSITION, QueryParams, UserPath};
use crate::query::LoginPage;

const DEFAULT_LIMIT: usize = 100;
const MAX_LIMIT: u64 = 1000;

/// Lists the caller's logins: when, and where from. Failed ones are summed up: an entry for the first, and one
/// with their `count` when no more have come for 15 minutes; or else a success says how many failed before.
#[utoipa::path(
    get, path = "/users/me/logins",
    params(
        ("before" = Option<u64>, Query, minimum = 1, description = "Only logins before this number"),
        Limit<MAX_LIMIT>,
    ),
    responses(
        (status = 200, description = "The caller's logins, newest first", body = LoginPage),
        CurrentUser,
        (status = 404, description = "The token's user does not exist, or is erased"),
        (status = 422, description = "Invalid parameters"),
    ),
)]
pub(crate) async fn my_logins(
    State(app): State<Arc<App>>,
    user: CurrentUser,
    params: QueryParams,
) -> Result<Json<LoginPage>, ApiError> {
    page(&app, user.row.id, params).await
}

/// Lists the logins of a user, as for the user. Those of an erased user are shown without address and user agent.
#[utoipa::path(
    get, path = "/users/{id}/logins",
    params(
        UserPath,
        ("before" = Option<u64>, Query, minimum = 1, description = "Only logins before this number"),
        Limit<MAX_LIMIT>,
    ),
    responses(
        (status = 200, description = "The user's logins, newest first", body = LoginPage),
        Auditor,
        (status = 404, description = "There never was such a user"),
        (status = 422, description = "Invalid parameters"),
    ),
)]
pub(crate) async fn user_logins(
    State(app): State<Arc<App>>,
    _: Auditor,
    UserPath(id): UserPath,
    params: QueryParams,
) -> Result<Json<LoginPage>, ApiError> {
    page(&app, id, params).await
}

async fn page(app: &App, id: UserId, mut params: QueryParams) -> Result<Json<LoginPage>, ApiError> {
    let page = (params.limit(MAX_LIMIT, DEFAULT_LIMIT), params.number("before", 1..=MAX_POSITION));
    let (limit, before) = params.finish(page)?;
    let page = app.services()?.login_history.page(id, before, limit).await?;
    page.map(Json).ok_or(ApiError::UserNotFound)
}

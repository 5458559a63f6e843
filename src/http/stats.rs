//! `GET /stats`

use std::sync::Arc;

use axum::Json;
use axum::extract::{FromRequestParts, State};
use axum::http::HeaderMap;
use axum::http::request::Parts;
use jiff::civil::Date;

use super::api_error::ApiError;
use super::extract::{MinPosition, QueryParams, StatsReader};
use super::openapi::{ErrorBody, ValidationErrorBody};
use crate::app::App;
use crate::query::Stats;

/// Which days are asked for.
pub(crate) struct DaysQuery {
    from: Option<Date>,
    to: Option<Date>,
}

impl<S: Sync> FromRequestParts<S> for DaysQuery {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, ApiError> {
        let mut params = QueryParams::of(&parts.uri);
        let days = Self { from: params.date("from"), to: params.date("to") };
        params.finish(days)
    }
}

/// Says how many users there are, and what happened to them day by day.
#[utoipa::path(
    get,
    path = "/stats",
    tag = "service",
    operation_id = "stats",
    security(("OAuth2PasswordBearer" = [])),
    params(
        ("from" = Option<String>, Query, description = "Only days from this one on, such as `2026-11-23`, in UTC"),
        ("to" = Option<String>, Query, description = "Only days up to this one"),
        ("Aegis-Min-Position" = Option<u64>, Header, description = "What the numbers have to show at least"),
    ),
    responses(
        (status = 200, description = "The totals as they are now, and the days that were asked for", body = Stats),
        (status = 401, description = "No token", body = ErrorBody),
        (status = 403, description = "A bad token, or neither administrator, operator nor auditor", body = ErrorBody),
        (status = 422, description = "A bad day, or a position beyond the head", body = ValidationErrorBody),
        (status = 503, description = "`projection_behind` or `unavailable`", body = ErrorBody),
    ),
)]
pub(crate) async fn stats(
    State(app): State<Arc<App>>,
    _: StatsReader,
    headers: HeaderMap,
    DaysQuery { from, to }: DaysQuery,
) -> Result<Json<Stats>, ApiError> {
    let stats = &app.services()?.stats;
    // That it exists is known: the caller was not let in before `users` had reached it.
    if let Some(position) = MinPosition::from_headers(&headers)? {
        stats.wait_for_position(position).await?;
    }
    Ok(Json(stats.all(from, to).await?))
}

//! `GET /stats`

use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use axum::http::HeaderMap;

use super::api_error::ApiError;
use super::extract::{MinPosition, QueryParams, StatsReader};
use crate::app::App;
use crate::query::Stats;

/// Counts users, in total and by day.
#[utoipa::path(
    get, path = "/stats",
    params(
        ("from" = Option<String>, Query, format = Date, description = "The first day, such as `2026-11-23`, in UTC"),
        ("to" = Option<String>, Query, format = Date, description = "The last day"),
        MinPosition,
    ),
    responses(
        (status = 200, description = "The current totals, and the requested days", body = Stats),
        StatsReader,
        (status = 422, description = "Not a day, or a position beyond the head"),
        (status = 503, description = "`projection_behind` or `unavailable`"),
    ),
)]
pub(crate) async fn stats(
    State(app): State<Arc<App>>,
    _: StatsReader,
    headers: HeaderMap,
    mut params: QueryParams,
) -> Result<Json<Stats>, ApiError> {
    let days = (params.date("from"), params.date("to"));
    let (from, to) = params.finish(days)?;
    let stats = &app.services()?.stats;
    // The position exists: authentication already waited for `users` to reach it.
    if let Some(position) = MinPosition::from_headers(&headers)? {
        stats.wait_for_position(position).await?;
    }
    Ok(Json(stats.all(from, to).await?))
}

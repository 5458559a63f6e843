//! `GET /stats`

use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use axum::http::HeaderMap;
use serde::Serialize;
use utoipa::ToSchema;

use super::api_error::ApiError;
use super::extract::{MinPosition, QueryParams, StatsReader};
use crate::app::App;
use crate::query::{DayStats, Stats};

/// Counts of users.
#[derive(Serialize, ToSchema)]
#[schema(as = Stats)]
pub(crate) struct StatsView {
    /// Users who ever registered.
    registered: i64,
    /// Users who are active now.
    active: i64,
    /// Users who are deactivated now, and not erased.
    deactivated: i64,
    /// Users who were erased.
    erased: i64,
    /// The position of the log up to which events are counted.
    position: u64,
    /// The days with events, by date.
    days: Vec<DayStatsView>,
}

/// Counts of one day, in UTC.
#[derive(Serialize, ToSchema)]
#[schema(as = DayStats)]
pub(crate) struct DayStatsView {
    /// The date.
    #[schema(format = Date)]
    day: String,
    /// Users who registered.
    registered: i64,
    /// Users who were deactivated.
    deactivated: i64,
    /// Users who were reactivated.
    reactivated: i64,
    /// Users who were erased.
    erased: i64,
    /// Users who were active at the end of the day.
    active: i64,
}

/// Counts users, in total and by day.
#[utoipa::path(
    get, path = "/stats",
    params(
        ("from" = Option<String>, Query, description = "The first day, such as `2026-11-23`, in UTC"),
        ("to" = Option<String>, Query, description = "The last day"),
        MinPosition,
    ),
    responses(
        (status = 200, description = "The current totals, and the requested days", body = StatsView),
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
) -> Result<Json<StatsView>, ApiError> {
    let days = (params.date("from"), params.date("to"));
    let (from, to) = params.finish(days)?;
    let stats = &app.services()?.stats;
    // The position exists: authentication already waited for `users` to reach it.
    if let Some(position) = MinPosition::from_headers(&headers)? {
        stats.wait_for_position(position).await?;
    }
    Ok(Json(stats.all(from, to).await?.into()))
}

impl From<Stats> for StatsView {
    fn from(stats: Stats) -> Self {
        let Stats { registered, active, deactivated, erased, position, days } = stats;
        let days = days.into_iter().map(Into::into).collect();
        Self { registered, active, deactivated, erased, position, days }
    }
}

impl From<DayStats> for DayStatsView {
    fn from(stats: DayStats) -> Self {
        let DayStats { day, registered, deactivated, reactivated, erased, active } = stats;
        Self { day, registered, deactivated, reactivated, erased, active }
    }
}

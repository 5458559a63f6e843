//! Read models in HTTP answers.

use jiff::Timestamp;
use serde::Serialize;
use utoipa::ToSchema;

use crate::query::projections::{ProjectionStatus, VersionStatus};

/// A read model and its versions.
#[derive(Serialize, ToSchema)]
#[schema(as = ProjectionStatus)]
pub(crate) struct ProjectionView {
    /// The name of the read model.
    name: String,
    /// The number of the live version, which queries read.
    live: u64,
    /// The node whose projector holds the lease; left out if none does.
    #[serde(skip_serializing_if = "Option::is_none")]
    owner: Option<String>,
    /// The head of the log.
    head: u64,
    /// The stored versions, by ascending number.
    versions: Vec<VersionView>,
}

/// A version of a read model.
#[derive(Serialize, ToSchema)]
#[schema(as = VersionStatus)]
pub(crate) struct VersionView {
    /// The number, with which the name of its table ends.
    version: u64,
    /// The version of the projection code that computes its rows.
    fold: u32,
    /// `live`, `kept` (for a rollback), `building` or `dropping`.
    role: &'static str,
    /// `current`, `catching up`, `failing`, `halted`, `unknown` (this program lacks its projection code) or
    /// `stopped` (no projector runs).
    state: &'static str,
    /// Why it is not current.
    #[serde(skip_serializing_if = "Option::is_none")]
    error: Option<String>,
    /// The position up to which events are applied.
    position: u64,
    /// The number of events that are not applied yet.
    lag: u64,
    /// The age of the oldest event that is not applied yet, in seconds.
    lag_seconds: f64,
    /// The current rate, in events per second.
    rate: u64,
    /// The progress of a rebuild, in percent.
    #[serde(skip_serializing_if = "Option::is_none")]
    percent: Option<f64>,
    /// The seconds until a rebuild reaches the head at the current rate.
    #[serde(skip_serializing_if = "Option::is_none")]
    eta_seconds: Option<u64>,
    /// Who requested the version.
    by: String,
    /// When it was requested.
    #[schema(value_type = String, format = DateTime)]
    since: Timestamp,
    /// Whether its rows differed from those of the version that it replaced.
    #[serde(skip_serializing_if = "Option::is_none")]
    differed: Option<bool>,
}

impl From<ProjectionStatus> for ProjectionView {
    fn from(status: ProjectionStatus) -> Self {
        let ProjectionStatus { name, live, owner, head, versions } = status;
        Self { name, live, owner, head, versions: versions.into_iter().map(Into::into).collect() }
    }
}

impl From<VersionStatus> for VersionView {
    fn from(status: VersionStatus) -> Self {
        Self {
            version: status.version,
            fold: status.fold,
            role: status.role,
            state: status.state,
            error: status.error,
            position: status.position,
            lag: status.lag,
            lag_seconds: status.lag_seconds,
            rate: status.rate,
            percent: status.percent,
            eta_seconds: status.eta_seconds,
            by: status.by,
            since: status.since,
            differed: status.differed,
        }
    }
}

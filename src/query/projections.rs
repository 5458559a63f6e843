//! The status of the read models: each version, its position and its lease holder. Always read from the
//! database, so that every node and the command line report the same.

use jiff::{SignedDuration, Timestamp};
use projections::report::{LEASE, parse_reports};
use projections::{Projection, ProjectionContext, VersionHealth, VersionReport, lifecycle};
use serde::Serialize;
use store::{EventQuery, Lease, Position, ProjectionVersion, ProjectionVersions, StoreError, VersionStage};

#[derive(Clone, Debug, Serialize)]
pub struct ProjectionStatus {
    pub name: String,
    /// The number of the live version.
    pub live: u64,
    /// The lease holder, if any.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub owner: Option<String>,
    /// The head of the log.
    pub head: u64,
    /// By ascending number.
    pub versions: Vec<VersionStatus>,
}

/// One version of a read model.
#[derive(Clone, Debug, Serialize)]
pub struct VersionStatus {
    /// The number at the end of the table's name.
    pub version: u64,
    /// The version of the projection's code.
    pub fold: u32,
    /// `live`, `kept` (for a rollback), `building` or `dropping`.
    pub role: &'static str,
    /// `current`, `catching up`, `failing`, `halted`, `unknown` (this program lacks its code) or `stopped`
    /// (no node holds the lease).
    pub state: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,
    /// The last applied position.
    pub position: u64,
    /// The number of events that are not applied.
    pub lag: u64,
    /// The age of the oldest event that is not applied.
    pub lag_seconds: f64,
    /// Events per second.
    pub rate: u64,
    /// How much of the log is applied, while it is being built.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub percent: Option<f64>,
    /// The time to catch up at the present rate, while it is being built.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub eta_seconds: Option<u64>,
    /// The actor that requested it.
    pub by: String,
    pub since: Timestamp,
    /// Whether its rows differed from those of the version it replaced.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub differed: Option<bool>,
}

/// The status of every read model.
pub(crate) async fn all(
    sources: &ProjectionContext,
    now: Timestamp,
) -> Result<Vec<ProjectionStatus>, StoreError> {
    let (leases, mut found) = (sources.leases.list_leases().await?, Vec::new());
    for projection in projections::all() {
        found.push(of(projection, sources, &leases, now).await?);
    }
    Ok(found)
}

/// The status of one read model.
pub(crate) async fn one(
    projection: &'static dyn Projection,
    sources: &ProjectionContext,
    now: Timestamp,
) -> Result<ProjectionStatus, StoreError> {
    of(projection, sources, &sources.leases.list_leases().await?, now).await
}

async fn of(
    projection: &'static dyn Projection,
    sources: &ProjectionContext,
    leases: &[Lease],
    now: Timestamp,
) -> Result<ProjectionStatus, StoreError> {
    let ProjectionVersions { live, kept, .. } = lifecycle::versions(projection, sources).await?;
    let lease = leases.iter().find(|lease| lease.name == LEASE);
    let mut reports =
        lease.and_then(|lease| parse_reports(lease).remove(projection.name())).unwrap_or_default().versions;
    let has_holder = lease.is_some_and(Lease::is_held);
    let mut positions = Vec::new();
    for version in &kept {
        positions.push(sources.rows.checkpoint(&projection.table(version.number)).await?.position);
    }
    // Read after the checkpoints: a concurrent append makes the lag larger, never negative.
    let head = sources.events.head().await?.position;
    let mut versions = Vec::new();
    for (version, position) in kept.into_iter().zip(positions) {
        let age = if position < head {
            let seen = sources.events.progress().lag(&projection.table(version.number).name);
            // Timestamps may be wrong, and this process may be younger than the event.
            age_after(sources, position, now).await?.max(seen.unwrap_or_default().age.as_secs_f64())
        } else {
            0.0
        };
        let report = (has_holder, reports.remove(&version.number).unwrap_or_default());
        versions.push(VersionStatus::new(version, live, report, (position.get(), head.get()), age));
    }
    let owner = lease.filter(|lease| lease.is_held()).map(|lease| lease.holder.clone());
    Ok(ProjectionStatus { name: projection.name().to_owned(), live, owner, head: head.get(), versions })
}

/// The age of the event after a position, in seconds.
async fn age_after(
    sources: &ProjectionContext,
    position: Position,
    now: Timestamp,
) -> Result<f64, StoreError> {
    let next = EventQuery { after: position, limit: 1, ..EventQuery::default() };
    let next = sources.events.read_sealed(&next).await?;
    let age = next.first().map(|event| now.duration_since(event.at).max(SignedDuration::ZERO));
    Ok(age.unwrap_or_default().as_secs_f64())
}

impl VersionStatus {
    fn new(
        version: ProjectionVersion,
        live: u64,
        (has_holder, report): (bool, VersionReport),
        (position, head): (u64, u64),
        lag_seconds: f64,
    ) -> Self {
        let ProjectionVersion { number, fold, stage, by, since, differed, .. } = version;
        let lag = head.saturating_sub(position);
        let role = match stage {
            _ if number == live => "live",
            VersionStage::Building => "building",
            VersionStage::Ready => "kept",
            VersionStage::Dropping => "dropping",
        };
        let (state, error) = state(&report, has_holder, lag);
        let rate = if has_holder { report.rate } else { 0 };
        let is_building = role == "building";
        let percent = is_building.then(|| percent(position, head));
        let eta_seconds = lag.checked_div(rate).filter(|_| is_building);
        Self {
            version: number,
            fold,
            role,
            state,
            error,
            position,
            lag,
            lag_seconds,
            rate,
            percent,
            eta_seconds,
            by,
            since,
            differed,
        }
    }
}

fn state(report: &VersionReport, has_holder: bool, lag: u64) -> (&'static str, Option<String>) {
    let error = report.health.error().map(ToOwned::to_owned);
    match &report.health {
        // Reported by any lease holder: the next one would halt at the same event.
        VersionHealth::Halted(_) if lag > 0 => ("halted", error),
        VersionHealth::Unknown(_) => ("unknown", error),
        VersionHealth::Failing(_) if has_holder => ("failing", error),
        _ if lag == 0 => ("current", None),
        _ if has_holder => ("catching up", None),
        _ => ("stopped", Some("no node keeps it up to date; is a service running?".to_owned())),
    }
}

/// With one decimal.
fn percent(part: u64, whole: u64) -> f64 {
    let tenths = (u128::from(part) * 1000).checked_div(u128::from(whole)).unwrap_or(1000);
    f64::from(u32::try_from(tenths).unwrap_or(1000)) / 10.0
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn state_combines_projector_report_and_checkpoint() {
        let report = |health| VersionReport { health, ..VersionReport::default() };
        let halted = || report(VersionHealth::Halted("position 7".to_owned()));
        assert_eq!(state(&report(VersionHealth::Running), true, 0).0, "current");
        assert_eq!(state(&report(VersionHealth::Running), true, 5).0, "catching up");
        assert_eq!(state(&report(VersionHealth::Running), false, 5).0, "stopped");
        assert_eq!(state(&halted(), false, 5), ("halted", Some("position 7".to_owned())));
        assert_eq!(state(&halted(), true, 0).0, "current", "the position was passed, the report is stale");
        assert_eq!(state(&report(VersionHealth::Failing("x".to_owned())), true, 5).0, "failing");
    }

    #[test]
    fn percent_has_one_decimal_and_an_empty_log_is_complete() {
        assert_eq!((percent(1, 3), percent(3, 3), percent(0, 0)), (33.3, 100.0, 100.0));
    }
}

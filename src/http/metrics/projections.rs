//! What is known of the read models without asking the database: what this node hears, and what the node that keeps them
//! last said.

use std::sync::atomic::AtomicU64;

use jiff::{SignedDuration, Timestamp};
use projections::{ProjectionHandle, VersionHealth, VersionReport};
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::registry::Registry;
use store::{Position, StoreProgress};
use tokio::time::Instant;

use crate::app::Services;

type Labels = Vec<(&'static str, String)>;
type Numbers = Family<Labels, Gauge>;
type Seconds = Family<Labels, Gauge<f64, AtomicU64>>;

/// One series of each per projection, or per version of it.
#[derive(Default)]
struct Gauges {
    position: Numbers,
    lag: Numbers,
    lag_seconds: Seconds,
    rate: Numbers,
    state: Numbers,
    live: Numbers,
    owner: Numbers,
    heartbeat: Seconds,
}

/// Shows how the read models are doing.
pub(super) fn register(registry: &mut Registry, services: &Services, now: Timestamp) {
    let (gauges, progress) = (Gauges::default(), services.store.progress());
    for runner in services.projectors() {
        gauges.of_projection(runner, &progress, now);
    }
    let Gauges { position, lag, lag_seconds, rate, state, live, owner, heartbeat } = gauges;
    let mut numbers = |name: &str, help: &str, family: Numbers| registry.register(name, help, family);
    numbers("aegis_projection_position", "The last position in the rows of a version", position);
    numbers("aegis_projection_lag_events", "How many events are not in the rows yet", lag);
    numbers("aegis_projection_rate", "Events a second that go into the rows, lately", rate);
    numbers("aegis_projection_state", "1 for the state that a version is in", state);
    numbers("aegis_projection_live", "Whether a version is the one that is read", live);
    numbers("aegis_projection_owner", "Whether this node keeps the read model", owner);
    let mut seconds = |name: &str, help: &str, family: Seconds| registry.register(name, help, family);
    let age = "The age of the oldest event that is read and not in the rows yet";
    seconds("aegis_projection_lag_seconds", age, lag_seconds);
    let silence = "Since the node that keeps the read model last said how it is doing";
    seconds("aegis_projection_heartbeat_age_seconds", silence, heartbeat);
}

impl Gauges {
    fn of_projection(&self, runner: &ProjectionHandle, progress: &StoreProgress, now: Timestamp) {
        let name = runner.projection().name();
        let (labels, standing) = (vec![("projection", name.to_owned())], runner.status());
        self.owner.get_or_create(&labels).set(i64::from(runner.is_owner()));
        if let Some(reported) = standing.reported {
            let age = Instant::now().saturating_duration_since(reported);
            self.heartbeat.get_or_create(&labels).set(age.as_secs_f64());
        }
        let Some(versions) = progress.versions.get(name) else { return };
        for version in &versions.kept {
            let number = ("version", version.number.to_string());
            let labels: Labels = labels.iter().cloned().chain([number]).collect();
            self.live.get_or_create(&labels).set(i64::from(version.number == versions.live));
            let known = progress.applied_position(&runner.projection().table(version.number).name);
            if let Some(report) = standing.report.versions.get(&version.number) {
                self.of_version(&labels, report, known, progress.head, now);
            }
        }
    }

    fn of_version(
        &self,
        labels: &Labels,
        report: &VersionReport,
        known: Position,
        head: Position,
        now: Timestamp,
    ) {
        // What this node hears is newer than what was said, unless it has heard nothing yet.
        let position = known.get().max(report.position);
        let lag = head.get().saturating_sub(position);
        let number = |value: u64| i64::try_from(value).unwrap_or(i64::MAX);
        self.position.get_or_create(labels).set(number(position));
        self.lag.get_or_create(labels).set(number(lag));
        self.rate.get_or_create(labels).set(number(report.rate));
        let age = report.oldest.filter(|_| lag > 0).map(|oldest| now.duration_since(oldest));
        let age = age.unwrap_or_default().max(SignedDuration::ZERO);
        self.lag_seconds.get_or_create(labels).set(age.as_secs_f64());
        for state in VersionHealth::NAMES {
            let labels: Labels = labels.iter().cloned().chain([("state", state.to_owned())]).collect();
            self.state.get_or_create(&labels).set(i64::from(report.health.name() == state));
        }
    }
}

//! Recovery: once faults are disabled, everything must work again by itself within a bounded time.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use projections::{ChangeError, Projection, ProjectionHandle, VersionHealth};
use store::{
    ExpectedVersion, ProjectionVersion, ProjectionVersions, ReadModelStore, StreamWrite, VersionStage,
};
use tokio::time::{sleep, timeout};

use crate::client::Client;
use crate::item_projection::item_stream;
use crate::node::Node;
use crate::operators::rebuild;
use crate::releases::{self, newest};
use crate::shared_state::Simulation;

/// For calls that began before, and for processes waiting for their database.
const RECOVERY_TIMEOUT: Duration = Duration::from_secs(40);
/// For an undisturbed rebuild.
const REBUILD_TIMEOUT: Duration = Duration::from_secs(5);
/// For a lease to expire and be acquired, a version to be built and one to be dropped.
const SETTLE_TIMEOUT: Duration = Duration::from_secs(15);
/// For an answer to a client.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(10);
const PAUSE: Duration = Duration::from_millis(50);

/// Checks that everything has recovered.
pub(crate) async fn check_recovery(simulation: &Arc<Simulation>) -> Result<(), String> {
    until(RECOVERY_TIMEOUT, async || {
        let down = simulation.slots.iter().position(|slot| slot.node.lock().unwrap().is_none());
        let late = (!simulation.outstanding.is_none()).then(|| "what was late is not done".to_owned());
        down.map(|slot| format!("node {slot} is down")).or(late)
    })
    .await?;
    for slot in 0..simulation.slots.len() {
        until(RECOVERY_TIMEOUT, async || {
            let Some(node) = node_at(simulation, slot) else { return Some(format!("node {slot} is down")) };
            let client = Client::new(simulation, &node);
            let write = StreamWrite::new(item_stream(0), ExpectedVersion::Any, vec![client.plain_event()]);
            // The process may be stopping gracefully, and then does not answer.
            let answer = timeout(ANSWER_TIMEOUT, client.append(vec![write])).await;
            (!matches!(answer, Ok(Some(Ok(_))))).then(|| format!("node {slot} appends nothing: {answer:?}"))
        })
        .await?;
    }
    for slot in 0..simulation.slots.len() {
        until(SETTLE_TIMEOUT, async || {
            slot_lag(simulation, slot).await.map(|lag| format!("node {slot}: {lag}"))
        })
        .await?;
    }
    if simulation.random.permille(250) { check_rebuild(simulation).await } else { Ok(()) }
}

/// An undisturbed rebuild completes.
async fn check_rebuild(simulation: &Arc<Simulation>) -> Result<(), String> {
    let Some(node) = node_at(simulation, 0) else { return Ok(()) };
    let projection = *simulation.random.pick(&node.projections);
    let name = projection.name();
    if !supported_by_all(simulation, name, projection.version()) {
        return Ok(());
    }
    let number = match timeout(ANSWER_TIMEOUT, rebuild(simulation, &node, projection)).await {
        Ok(Ok(versions)) => versions.last,
        // Another rebuild is in progress.
        Ok(Err(ChangeError::Refused(..))) => return Ok(()),
        Ok(Err(error)) => return Err(format!("a rebuild of `{name}` in the disabled: {error}")),
        Err(_) => return Err(format!("a rebuild of `{name}` in the calm is not answered")),
    };
    until(REBUILD_TIMEOUT, async || {
        let versions = simulation.memory.versions(name).await.unwrap()?;
        let building = versions.building().is_some_and(|version| version.number == number);
        building.then(|| format!("the rebuild of `{name}` is not done: {versions:?}"))
    })
    .await?;
    simulation.coverage.count("rebuilds after faults ended");
    Ok(())
}

fn node_at(simulation: &Simulation, slot: usize) -> Option<Arc<Node>> {
    simulation.slots[slot].node.lock().unwrap().clone()
}

/// What lags in the read models, or in the view of one process.
async fn slot_lag(simulation: &Simulation, slot: usize) -> Option<String> {
    let Some(node) = node_at(simulation, slot) else { return Some("it is down".to_owned()) };
    for projection in newest() {
        let versions = simulation.memory.versions(projection.name()).await.unwrap();
        let Some(versions) = versions else {
            return Some(format!("`{}` has no versions", projection.name()));
        };
        for version in &versions.kept {
            if let Some(lag) = version_lag(simulation, projection, &versions, version) {
                return Some(lag);
            }
        }
        if let Some(lag) = stale_view(simulation, slot, &node, projection.name(), &versions) {
            return Some(lag);
        }
    }
    let (head, seen) = (simulation.head(), simulation.slots[slot].observed.lock().unwrap().len());
    (u64::try_from(seen).unwrap() != head.get()).then(|| format!("its follower has seen {seen} of {head}"))
}

/// The lag of a version. The live version always has a leader that supports it; others only if every
/// projecting process does.
fn version_lag(
    simulation: &Simulation,
    projection: &'static dyn Projection,
    versions: &ProjectionVersions,
    version: &ProjectionVersion,
) -> Option<String> {
    let name = projection.name();
    let known = supported_by_all(simulation, name, version.fold);
    if version.stage == VersionStage::Dropping {
        return Some(format!("version {} of `{name}` is not dropped", version.number));
    }
    if !known && version.number != versions.live {
        return None;
    }
    if version.stage == VersionStage::Building {
        return Some(format!("version {} of `{name}` is not built", version.number));
    }
    let (position, head) =
        (simulation.progress().applied_position(&projection.table(version.number).name), simulation.head());
    (position != head)
        .then(|| format!("version {} of `{name}` is at {position}, not at {head}", version.number))
}

/// Whether every projecting process supports that projection version.
fn supported_by_all(simulation: &Simulation, name: &str, fold: u32) -> bool {
    let mut projecting = simulation.slots.iter().filter(|slot| slot.projects);
    projecting.all(|slot| {
        let program = releases::projections_of(slot.upgraded.load(Ordering::Relaxed));
        let mine = program.into_iter().find(|mine| mine.name() == name);
        mine.is_some_and(|mine| mine.with_version(fold).is_some())
    })
}

/// What a process does not know about a read model.
fn stale_view(
    simulation: &Simulation,
    slot: usize,
    node: &Node,
    name: &'static str,
    versions: &ProjectionVersions,
) -> Option<String> {
    let (news, head, notifications_blocked) =
        (node.store.progress(), simulation.head(), simulation.slots[slot].notifications_blocked);
    let status = node.runner.as_ref().map(ProjectionHandle::status);
    let owner = status.as_ref().and_then(|status| status.owner.clone());
    let owns = owner.as_ref().is_some_and(|owner| owner.starts_with(&format!("node {slot} ")));
    if (owns || !notifications_blocked) && news.live_version(name) != versions.live {
        return Some(format!(
            "it takes version {} of `{name}` for live: {versions:?}",
            news.live_version(name)
        ));
    }
    let table = format!("{name}_{}", versions.live);
    if !notifications_blocked && (news.head != head || news.applied_position(&table) != head) {
        return Some(format!("it has not heard that `{table}` is at {head}: {news:?}"));
    }
    let status = status?;
    let shown = status.report.get(name).and_then(|report| report.versions.get(&versions.live));
    if owner.is_none()
        || shown.is_none_or(|shown| (&shown.health, shown.position) != (&VersionHealth::Running, head.get()))
    {
        return Some(format!("its runner says of `{table}`, where the head is {head}: {status:?}"));
    }
    None
}

/// Waits until nothing is missing any more.
async fn until(bound: Duration, missing: impl AsyncFn() -> Option<String>) -> Result<(), String> {
    let mut last = None;
    let waited = timeout(bound, async {
        while let Some(still) = missing().await {
            last = Some(still);
            sleep(PAUSE).await;
        }
    });
    let late = waited.await.is_err();
    if late {
        Err(format!("{bound:?} after all faults have ended, {}", last.unwrap_or_default()))
    } else {
        Ok(())
    }
}

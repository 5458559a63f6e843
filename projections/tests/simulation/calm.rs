//! After the storm: once nothing fails any more, everything must work again by itself, within a bounded time.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use projections::{ChangeError, Health, Projection, RunnerHandle};
use store::{Expected, ReadModels, Stage, StreamWrite, Version, Versions};
use tokio::time::{sleep, timeout};

use crate::client::Client;
use crate::node::Node;
use crate::operators::rebuild;
use crate::programs::{self, newest};
use crate::things::thing;
use crate::world::World;

/// Calls that began in the storm may take so long, and a process that waits for its database that long again.
const RECOVERY: Duration = Duration::from_secs(40);
/// What nothing holds up takes no longer.
const PROMPT: Duration = Duration::from_secs(5);
/// Until a lease has run out, another process has it, a version is built and one is dropped.
const SETTLED: Duration = Duration::from_secs(15);
/// A client waits for an answer no longer.
const ANSWER: Duration = Duration::from_secs(10);
const PAUSE: Duration = Duration::from_millis(50);

/// Whether everything lives again.
pub(crate) async fn check_recovery(world: &Arc<World>) -> Result<(), String> {
    until(RECOVERY, async || {
        let down = world.places.iter().position(|place| place.node.lock().unwrap().is_none());
        let late = (!world.late.is_none()).then(|| "what was late is not done".to_owned());
        down.map(|place| format!("node {place} is down")).or(late)
    })
    .await?;
    for place in 0..world.places.len() {
        until(RECOVERY, async || {
            let Some(node) = node_at(world, place) else { return Some(format!("node {place} is down")) };
            let client = Client::new(world, &node);
            let write = StreamWrite::new(thing(0), Expected::Any, vec![client.plain_event()]);
            // The process may be stopped in order meanwhile, and then answers nothing.
            let answer = timeout(ANSWER, client.append(vec![write])).await;
            (!matches!(answer, Ok(Some(Ok(_))))).then(|| format!("node {place} appends nothing: {answer:?}"))
        })
        .await?;
    }
    for place in 0..world.places.len() {
        until(SETTLED, async || lag_of(world, place).await.map(|lag| format!("node {place}: {lag}"))).await?;
    }
    if world.chance.happens(250) { check_rebuild(world).await } else { Ok(()) }
}

/// A rebuild that nothing disturbs comes to its end.
async fn check_rebuild(world: &Arc<World>) -> Result<(), String> {
    let Some(node) = node_at(world, 0) else { return Ok(()) };
    let projection = *world.chance.pick(&node.projections);
    let name = projection.name();
    if !known_to_all(world, name, projection.version()) {
        return Ok(());
    }
    let number = match timeout(ANSWER, rebuild(world, &node, projection)).await {
        Ok(Ok(versions)) => versions.last,
        // One was still at work, as an operator or a new program wanted it.
        Ok(Err(ChangeError::Refused(..))) => return Ok(()),
        Ok(Err(error)) => return Err(format!("a rebuild of `{name}` in the calm: {error}")),
        Err(_) => return Err(format!("a rebuild of `{name}` in the calm is not answered")),
    };
    until(PROMPT, async || {
        let versions = world.memory.versions(name).await.unwrap()?;
        let building = versions.building().is_some_and(|version| version.number == number);
        building.then(|| format!("the rebuild of `{name}` is not done: {versions:?}"))
    })
    .await?;
    world.tally.count("rebuilds in the calm");
    Ok(())
}

fn node_at(world: &World, place: usize) -> Option<Arc<Node>> {
    world.places[place].node.lock().unwrap().clone()
}

/// What of the read models is not as it should be, and what a process does not know of it, or of the log.
async fn lag_of(world: &World, place: usize) -> Option<String> {
    let Some(node) = node_at(world, place) else { return Some("it is down".to_owned()) };
    for projection in newest() {
        let versions = world.memory.versions(projection.name()).await.unwrap();
        let Some(versions) = versions else {
            return Some(format!("`{}` has no versions", projection.name()));
        };
        for version in &versions.kept {
            if let Some(lag) = lag_in(world, projection, &versions, version) {
                return Some(lag);
            }
        }
        if let Some(lag) = ignorance_of(world, place, &node, projection.name(), &versions) {
            return Some(lag);
        }
    }
    let (head, seen) = (world.head(), world.places[place].seen.lock().unwrap().len());
    (u64::try_from(seen).unwrap() != head.get()).then(|| format!("its follower has seen {seen} of {head}"))
}

/// Whether a version is not as far as it should be. What is read always has an owner that knows its fold; the others
/// only if every process does that may own them.
fn lag_in(
    world: &World,
    projection: &'static dyn Projection,
    versions: &Versions,
    version: &Version,
) -> Option<String> {
    let name = projection.name();
    let known = known_to_all(world, name, version.fold);
    if version.stage == Stage::Dropping {
        return Some(format!("version {} of `{name}` is not dropped", version.number));
    }
    if !known && version.number != versions.live {
        return None;
    }
    if version.stage == Stage::Building {
        return Some(format!("version {} of `{name}` is not built", version.number));
    }
    let (position, head) = (world.signal().projected(&projection.table(version.number).name), world.head());
    (position != head)
        .then(|| format!("version {} of `{name}` is at {position}, not at {head}", version.number))
}

/// Whether every process that projects has that fold in its program.
fn known_to_all(world: &World, name: &str, fold: u32) -> bool {
    let mut projecting = world.places.iter().filter(|place| place.projects);
    projecting.all(|place| {
        let program = programs::of(place.is_new.load(Ordering::Relaxed));
        let mine = program.into_iter().find(|mine| mine.name() == name);
        mine.is_some_and(|mine| mine.fold_of(fold).is_some())
    })
}

/// What a process does not know of a read model.
fn ignorance_of(
    world: &World,
    place: usize,
    node: &Node,
    name: &'static str,
    versions: &Versions,
) -> Option<String> {
    let (news, head, deaf) = (node.store.signal(), world.head(), world.places[place].deaf);
    let runner = node.runners.iter().find(|runner| runner.projection().name() == name);
    let standing = runner.map(RunnerHandle::standing);
    let owner = standing.as_ref().and_then(|standing| standing.owner.clone());
    let owns = owner.as_ref().is_some_and(|owner| owner.starts_with(&format!("node {place} ")));
    if (owns || !deaf) && news.live(name) != versions.live {
        return Some(format!("it takes version {} of `{name}` for live: {versions:?}", news.live(name)));
    }
    let table = format!("{name}_{}", versions.live);
    if !deaf && (news.head != head || news.projected(&table) != head) {
        return Some(format!("it has not heard that `{table}` is at {head}: {news:?}"));
    }
    let standing = standing?;
    let shown = standing.report.versions.get(&versions.live);
    if owner.is_none()
        || shown.is_none_or(|shown| (&shown.health, shown.position) != (&Health::Running, head.get()))
    {
        return Some(format!("its runner says of `{table}`, where the head is {head}: {standing:?}"));
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

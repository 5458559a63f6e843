//! After the storm: once nothing fails any more, everything must work again by itself, within a bounded time.

use std::sync::Arc;
use std::time::Duration;

use projections::{Health, ProjectorHandle, RebuildError, rebuild};
use store::{Expected, StreamWrite};
use tokio::time::{sleep, timeout};

use crate::client::Client;
use crate::node::{Node, PROJECTIONS};
use crate::things::thing;
use crate::world::World;

/// Calls that began in the storm may take so long, and a process that waits for its database that long again.
const RECOVERY: Duration = Duration::from_secs(40);
/// What nothing holds up takes no longer.
const PROMPT: Duration = Duration::from_secs(5);
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
        until(PROMPT, async || lag_of(world, place).map(|lag| format!("node {place}: {lag}"))).await?;
    }
    if world.chance.happens(250) { check_rebuild(world).await } else { Ok(()) }
}

/// A rebuild that nothing disturbs comes to its end.
async fn check_rebuild(world: &Arc<World>) -> Result<(), String> {
    let projection = *world.chance.pick(&PROJECTIONS);
    let Some(node) = node_at(world, 0) else { return Ok(()) };
    let mut each_batch = |_, _| {};
    let done =
        timeout(PROMPT, rebuild(projection, node.store.clone(), Arc::clone(&node.rows), &mut each_batch));
    match done.await {
        Ok(Ok(_)) => world.tally.count("rebuilds in the calm"),
        // One of the storm was still at work.
        Ok(Err(RebuildError::Overtaken(_))) => {}
        Ok(Err(error)) => return Err(format!("a rebuild of `{}` in the calm: {error}", projection.name())),
        Err(_) => return Err(format!("a rebuild of `{}` did not end", projection.name())),
    }
    Ok(())
}

fn node_at(world: &World, place: usize) -> Option<Arc<Node>> {
    world.places[place].node.lock().unwrap().clone()
}

/// What a process does not know yet of which tables are live, and what of it that follows the log is not at its head.
fn lag_of(world: &World, place: usize) -> Option<String> {
    let Some(node) = node_at(world, place) else { return Some("it is down".to_owned()) };
    let (truth, news, head) = (world.signal(), node.store.signal(), world.head());
    let deaf = world.places[place].deaf;
    for (number, projection) in PROJECTIONS.iter().enumerate() {
        let pair = projection.pair();
        let live = pair.live(truth.switches(pair.name));
        let believed = pair.live(news.switches(pair.name));
        let projector = node.projectors.get(number);
        if believed != live && (projector.is_some() || !deaf) {
            return Some(format!("it takes `{}` for live, not `{}`", believed.name, live.name));
        }
        if truth.projected(live.name) != head {
            return Some(format!("`{}` is not at {head}: {truth:?}", live.name));
        }
        if !deaf && (news.head != head || news.projected(live.name) != head) {
            return Some(format!("it has not heard that `{}` is at {head}: {news:?}", live.name));
        }
        if let Some(progress) = projector.map(ProjectorHandle::progress)
            && (progress.health != Health::Running || progress.position != head)
        {
            return Some(format!("its projector of `{}` is not at {head}: {progress:?}", live.name));
        }
    }
    let seen = world.places[place].seen.lock().unwrap().len();
    (u64::try_from(seen).unwrap() != head.get()).then(|| format!("its follower has seen {seen} of {head}"))
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

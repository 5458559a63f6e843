//! One run: a storm of faults over processes at work, then calm, then the reckoning.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use projections::Sources;
use store::{EventQuery, EventStore};
use tokio::runtime::Builder;
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep, timeout};

use crate::calm::check_recovery;
use crate::holdings::{check_personal, check_rows, check_seal, check_vault, check_verified};
use crate::node::keep;
use crate::programs::newest;
use crate::tally::Tally;
use crate::verdict::Verdict;
use crate::world::World;

/// The storm ends when all clients are done, or after this.
const STORM: Duration = Duration::from_secs(30);
const PAUSE: Duration = Duration::from_millis(200);

/// What has come of a run.
pub(crate) struct Outcome {
    /// The first promise that was broken, if one was.
    pub(crate) broken: Option<String>,
    pub(crate) tally: Tally,
    /// Of all steps: equal for equal runs.
    pub(crate) digest: u64,
}

/// Runs a seed, and shows its steps if somebody wants to follow them. Time is simulated, and one task at a time does
/// one step at a time: the seed determines everything.
pub(crate) fn run(seed: u64, shown: bool) -> Outcome {
    let runtime = Builder::new_current_thread().enable_time().start_paused(true).build().unwrap();
    let (broken, world) = runtime.block_on(async {
        let world = Arc::new(World::new(seed, shown));
        (story(&world).await.err(), world)
    });
    drop(runtime);
    // A process holds the world that holds it.
    for place in &world.places {
        place.node.lock().unwrap().take();
    }
    let digest = world.trace.digest();
    let World { tally, .. } = Arc::into_inner(world).expect("no task outlives its runtime");
    Outcome { broken, tally, digest }
}

async fn story(world: &Arc<World>) -> Result<(), String> {
    world.trace.say(|| format!("{:?}", world.weather));
    let mut processes = JoinSet::new();
    for place in 0..world.places.len() {
        processes.spawn(keep(Arc::clone(world), place));
    }
    let began = Instant::now();
    tokio::select! {
        biased;
        promise = world.breaks() => return Err(promise),
        () = storm(world) => {}
    }
    world.trace.say(|| "calm".to_owned());
    world.tally.add("storm seconds", began.elapsed().as_secs());
    world.weather.clear_up();
    tokio::select! {
        biased;
        promise = world.breaks() => return Err(promise),
        recovered = check_recovery(world) => recovered?,
        ended = processes.join_next() => return Err(format!("a process ended by itself: {ended:?}")),
    }
    world.trace.say(|| "the end".to_owned());
    processes.shutdown().await;
    world.tally.add("calls", world.calls());
    world.tally.add("simulated seconds", began.elapsed().as_secs());
    timeout(STORM, reckon(world)).await.map_err(|_| "the reckoning does not end".to_owned())?
}

async fn storm(world: &World) {
    let done = || {
        let mut clients = world.places.iter().flat_map(|place| &place.clients);
        clients.all(|left| left.load(Ordering::Relaxed) == 0)
    };
    let worked = timeout(STORM, async {
        while !done() {
            sleep(PAUSE).await;
        }
    });
    // Those who are not done by then go on in the calm.
    drop(worked.await);
}

/// Everything that was asked, answered, seen and stored, as one story.
async fn reckon(world: &World) -> Result<(), String> {
    let ambient = world.ambient();
    let store = EventStore::open(Arc::new(world.memory.clone()), world.master.clone(), ambient).await;
    let store = store.map_err(|error| error.to_string())?;
    let everything = EventQuery { limit: usize::MAX, ..EventQuery::default() };
    let recorded = store.read(&everything).await.map_err(|error| error.to_string())?;
    let log: Vec<_> = recorded.iter().map(|event| event.envelope.clone()).collect();
    let intents = world.history.intents();
    world.tally.add("events", u64::try_from(log.len()).unwrap());

    check_seal(world, &store, &log).await?;
    let ledger = Verdict::on(&log, &intents, &world.tally)?;
    check_vault(world, &store, &ledger).await?;
    check_personal(&recorded, &intents, &ledger)?;
    let rows = Arc::new(world.memory.clone());
    let sources = Sources { events: store, rows: rows.clone(), leases: rows };
    for projection in newest() {
        check_rows(world, projection, &recorded).await?;
        check_verified(&sources, projection).await?;
    }
    for place in &world.places {
        let seen = place.seen.lock().unwrap();
        if log.get(..seen.len()) != Some(&seen) {
            return Err("a follower has seen what is not in the log".to_owned());
        }
    }
    Ok(())
}

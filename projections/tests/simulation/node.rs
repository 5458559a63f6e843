//! One process: opens the log and the read models, projects, serves its clients, and dies, or is stopped in order and
//! started again.

use std::future::pending;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use projections::{Projection, Projector, ProjectorHandle, RebuildError, Users, rebuild};
use store::{Ambient, EventStore, ReadModels, StoreError};
use tokio::task::JoinSet;
use tokio::time::sleep;

use crate::client::Client;
use crate::faulty::Faulty;
use crate::follower::follow;
use crate::line::Line;
use crate::things::Things;
use crate::world::World;

/// The projections of a run.
pub(crate) static PROJECTIONS: [&dyn Projection; 2] = [&Users, &Things];
/// The pause between two tries to reach a database that does not answer, as the service makes it.
const RETRY: Duration = Duration::from_millis(500);

pub(crate) struct Node {
    pub(crate) store: EventStore,
    pub(crate) rows: Arc<dyn ReadModels>,
    pub(crate) ambient: Ambient,
    /// Of each of [`PROJECTIONS`]; none if it leaves projecting to others.
    pub(crate) projectors: Vec<ProjectorHandle>,
}

impl Node {
    async fn open(line: &Arc<Line>) -> Result<Self, StoreError> {
        let world = &line.world;
        let database = Arc::new(Faulty::new(world.memory.clone(), Arc::clone(line)));
        let ambient = world.ambient();
        let store = EventStore::open(database.clone(), world.master.clone(), ambient.clone()).await?;
        let rows: Arc<dyn ReadModels> = database;
        let mut projectors = Vec::new();
        for projection in PROJECTIONS {
            for table in projection.pair().tables {
                rows.prepare(table).await?;
            }
            rows.switches(projection.pair()).await?;
            if world.places[line.node].projects {
                projectors.push(Projector::new(projection, store.clone(), Arc::clone(&rows)).start());
            }
        }
        Ok(Self { store, rows, ambient, projectors })
    }
}

/// Keeps a process alive at a place: one after the other.
pub(crate) async fn keep(world: Arc<World>, place: usize) {
    loop {
        let line = Line::new(&world, place);
        let ears = line.ears(world.places[place].deaf);
        let look = line.ears(world.places[place].deaf);
        *world.places[place].ears.lock().unwrap() = Some(ears);
        tokio::select! {
            biased;
            () = line.life.ended() => world.tally.count("crashes"),
            () = live(&line) => world.tally.count("stops in order"),
            () = look.look(&world) => {}
        }
        // Whatever of it still waits for an answer will not get one.
        line.life.end();
        *world.places[place].node.lock().unwrap() = None;
        world.trace.say(|| format!("node {place} is down"));
        if !world.weather.is_calm() {
            let longest = *world.chance.pick(&[20, 200, 2000]);
            sleep(world.chance.millis(0..=longest)).await;
        }
    }
}

/// The life of a process, until it is stopped in order.
async fn live(line: &Arc<Line>) {
    let (world, place) = (&line.world, line.node);
    let node = Arc::new(until_reached(line).await);
    world.trace.say(|| format!("node {place} is up"));
    let mut tasks = JoinSet::new();
    for number in 0..world.places[place].clients.len() {
        let client = Client::new(world, &node);
        tasks.spawn(async move { client.work(&client.world.places[place].clients[number]).await });
    }
    let (shared, reader) = (Arc::clone(world), Arc::clone(&node));
    tasks.spawn(async move { follow(&shared, place, &reader).await });
    let (shared, builder) = (Arc::clone(world), Arc::clone(&node));
    tasks.spawn(async move { rebuild_at_times(&shared, place, &builder).await });
    let doomed = Arc::clone(line);
    tasks.spawn(async move { die_at_times(&doomed).await });
    *world.places[place].node.lock().unwrap() = Some(Arc::clone(&node));
    let stop = world.chance.happens(150).then(|| world.chance.millis(50..=3000));
    tokio::select! {
        biased;
        () = watch(world, &mut tasks) => {}
        () = stop_after(world, stop) => {}
    }
    // Nobody new comes to it.
    *world.places[place].node.lock().unwrap() = None;
    node.store.close().await;
    // Those whose appends were judged get to hear of it.
    sleep(Duration::from_millis(1)).await;
}

async fn until_reached(line: &Arc<Line>) -> Node {
    loop {
        match Node::open(line).await {
            Ok(node) => return node,
            Err(error) if error.is_transient() => sleep(RETRY).await,
            Err(error) => {
                line.world.broken(format!("a process could not open the log: {error}"));
                sleep(RETRY).await;
            }
        }
    }
}

/// Waits for tasks, whose panics would otherwise go unheard.
async fn watch(world: &World, tasks: &mut JoinSet<()>) {
    while let Some(done) = tasks.join_next().await {
        if let Err(panic) = done {
            world.broken(format!("a task of the simulation has panicked: {panic}"));
        }
    }
    pending::<()>().await;
}

/// Waits for that long; in the calm nothing is stopped any more.
async fn stop_after(world: &World, wait: Option<Duration>) {
    sleep(wait.unwrap_or(Duration::MAX)).await;
    if world.weather.is_calm() {
        pending::<()>().await;
    }
}

/// Dies out of the blue, between two calls as well as during one.
async fn die_at_times(line: &Line) {
    if line.world.chance.happens(150) {
        sleep(line.world.chance.millis(1..=3000)).await;
        if !line.world.weather.is_calm() {
            line.life.end();
        }
    }
}

/// Rebuilds a read model now and then.
async fn rebuild_at_times(world: &World, place: usize, node: &Node) {
    let left = &world.places[place].rebuilds;
    while left.load(Ordering::Relaxed) > 0 {
        sleep(world.chance.millis(0..=1500)).await;
        left.fetch_sub(1, Ordering::Relaxed);
        let projection = *world.chance.pick(&PROJECTIONS);
        match rebuild(projection, node.store.clone(), Arc::clone(&node.rows), &mut |_, _| {}).await {
            Ok(_) => world.tally.count("rebuilds done"),
            Err(RebuildError::Overtaken(_)) => world.tally.count("rebuilds overtaken"),
            Err(RebuildError::Store(error)) if error.is_transient() => world.tally.count("rebuilds failed"),
            Err(RebuildError::Store(error)) => world.broken(format!("a rebuild was told: {error}")),
        }
    }
}

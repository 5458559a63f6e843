//! One process: opens the log and the read models, projects, serves its clients, and dies, or is stopped in order and
//! started again.

use std::future::pending;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use projections::{Projection, Runner, RunnerHandle, Sources, models};
use store::{Ambient, EventStore, StoreError};
use tokio::task::JoinSet;
use tokio::time::sleep;

use crate::client::Client;
use crate::faulty::Faulty;
use crate::follower::follow;
use crate::line::Line;
use crate::operators::change_versions;
use crate::programs;
use crate::world::World;

/// The pause between two tries to reach a database that does not answer, as the service makes it.
const RETRY: Duration = Duration::from_millis(500);

pub(crate) struct Node {
    pub(crate) store: EventStore,
    pub(crate) sources: Sources,
    pub(crate) ambient: Ambient,
    /// Those of its program.
    pub(crate) projections: [&'static dyn Projection; 2],
    /// Of each of them; none if it leaves projecting to others.
    pub(crate) runners: Vec<RunnerHandle>,
}

impl Node {
    async fn open(line: &Arc<Line>, number: u64, is_new: bool) -> Result<Self, StoreError> {
        let world = &line.world;
        let database = Arc::new(Faulty::new(world.memory.clone(), Arc::clone(line)));
        let ambient = world.ambient();
        let store = EventStore::open(database.clone(), world.master.clone(), ambient.clone()).await?;
        let sources = Sources { events: store.clone(), rows: database.clone(), leases: database };
        let projections = programs::of(is_new);
        let mut runners = Vec::new();
        for projection in projections {
            models::open(projection, &sources, "system", ambient.now()).await?;
            if world.places[line.node].projects {
                let holder = format!("node {} in its life {number}", line.node);
                let runner = Runner::new(projection, sources.clone(), ambient.clone(), &holder);
                runners.push(runner.start());
            }
        }
        Ok(Self { store, sources, ambient, projections, runners })
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
    let (shared, operated) = (Arc::clone(world), Arc::clone(&node));
    tasks.spawn(async move { change_versions(&shared, place, &operated).await });
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
    for runner in &node.runners {
        runner.stop().await;
    }
    // Those whose appends were judged get to hear of it.
    sleep(Duration::from_millis(1)).await;
}

async fn until_reached(line: &Arc<Line>) -> Node {
    let place = &line.world.places[line.node];
    let number = place.lives.fetch_add(1, Ordering::Relaxed);
    // One that has the next program keeps it.
    if place.renews && line.world.chance.happens(400) {
        place.is_new.store(true, Ordering::Relaxed);
    }
    let is_new = place.is_new.load(Ordering::Relaxed);
    loop {
        match Node::open(line, number, is_new).await {
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

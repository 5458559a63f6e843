//! One process: opens log and read models, projects, serves clients, and crashes or is stopped gracefully and
//! restarted.

use std::future::pending;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use projections::{Projection, ProjectionContext, ProjectionHandle, ProjectionRunner, lifecycle};
use store::{Env, EventStore, StoreError};
use tokio::task::JoinSet;
use tokio::time::sleep;

use crate::client::Client;
use crate::connection::Connection;
use crate::faulty_backend::FaultyBackend;
use crate::feed_subscriber::run_subscriber;
use crate::notifications::NodeProgress;
use crate::operators::change_versions;
use crate::releases;
use crate::shared_state::Simulation;

/// The delay between connection attempts, as in the service.
const RETRY: Duration = Duration::from_millis(500);

pub(crate) struct Node {
    pub(crate) store: EventStore,
    pub(crate) context: ProjectionContext,
    pub(crate) env: Env,
    /// The projections of its release.
    pub(crate) projections: [&'static dyn Projection; 2],
    /// `None` if the node does not project.
    pub(crate) runner: Option<ProjectionHandle>,
    pub(crate) progress: Arc<NodeProgress>,
}

impl Node {
    async fn open(connection: &Arc<Connection>, number: u64, upgraded: bool) -> Result<Self, StoreError> {
        let simulation = &connection.simulation;
        let database = Arc::new(FaultyBackend::new(simulation.memory.clone(), Arc::clone(connection)));
        let env = simulation.env();
        let store = EventStore::open(database.clone(), simulation.master.clone(), env.clone()).await?;
        let context = ProjectionContext { events: store.clone(), rows: database.clone(), leases: database };
        let projections = releases::projections_of(upgraded);
        for projection in projections {
            lifecycle::open(projection, &context, "system", env.now()).await?;
        }
        let runner = simulation.slots[connection.node].projects.then(|| {
            let holder = format!("node {} in its life {number}", connection.node);
            ProjectionRunner::new(&projections, context.clone(), env.clone(), &holder).start()
        });
        let progress = Arc::clone(&connection.board);
        Ok(Self { store, context, env, projections, runner, progress })
    }
}

/// Runs one process after the other in a slot.
pub(crate) async fn run_slot(simulation: Arc<Simulation>, slot: usize) {
    loop {
        let connection = Connection::new(&simulation, slot);
        let notifications = connection.notifications(simulation.slots[slot].notifications_blocked);
        let look = connection.notifications(simulation.slots[slot].notifications_blocked);
        *simulation.slots[slot].notifications.lock().unwrap() = Some(notifications);
        tokio::select! {
            biased;
            () = connection.lifetime.ended() => simulation.coverage.count("crashes"),
            () = serve(&connection) => simulation.coverage.count("graceful stops"),
            () = look.poll(&simulation) => {}
        }
        // Calls still waiting for an answer get none.
        connection.lifetime.end();
        *simulation.slots[slot].node.lock().unwrap() = None;
        simulation.trace.log(|| format!("node {slot} is down"));
        if !simulation.faults.is_disabled() {
            let longest = *simulation.random.pick(&[20, 200, 2000]);
            sleep(simulation.random.millis(0..=longest)).await;
        }
    }
}

/// Runs a process until it is stopped gracefully.
async fn serve(connection: &Arc<Connection>) {
    let (simulation, slot) = (&connection.simulation, connection.node);
    let node = Arc::new(open_with_retry(connection).await);
    simulation.trace.log(|| format!("node {slot} is up"));
    let mut tasks = JoinSet::new();
    for number in 0..simulation.slots[slot].clients.len() {
        let client = Client::new(simulation, &node);
        tasks.spawn(async move { client.work(&client.simulation.slots[slot].clients[number]).await });
    }
    let (shared, reader) = (Arc::clone(simulation), Arc::clone(&node));
    tasks.spawn(async move { run_subscriber(&shared, slot, &reader).await });
    let (shared, operated) = (Arc::clone(simulation), Arc::clone(&node));
    tasks.spawn(async move { change_versions(&shared, slot, &operated).await });
    let crashing = Arc::clone(connection);
    tasks.spawn(async move { crash_at_random(&crashing).await });
    *simulation.slots[slot].node.lock().unwrap() = Some(Arc::clone(&node));
    let stop = simulation.random.permille(150).then(|| simulation.random.millis(50..=3000));
    tokio::select! {
        biased;
        () = propagate_panics(simulation, &mut tasks) => {}
        () = stop_after(simulation, stop) => {}
    }
    // It accepts no new requests.
    *simulation.slots[slot].node.lock().unwrap() = None;
    node.store.close().await;
    if let Some(runner) = &node.runner {
        runner.stop().await;
    }
    // Committed appends are answered.
    sleep(Duration::from_millis(1)).await;
}

async fn open_with_retry(connection: &Arc<Connection>) -> Node {
    let slot = &connection.simulation.slots[connection.node];
    let number = slot.incarnations.fetch_add(1, Ordering::Relaxed);
    // An upgraded slot stays upgraded.
    if slot.gets_upgrade && connection.simulation.random.permille(400) {
        slot.upgraded.store(true, Ordering::Relaxed);
    }
    let upgraded = slot.upgraded.load(Ordering::Relaxed);
    loop {
        match Node::open(connection, number, upgraded).await {
            Ok(node) => return node,
            Err(error) if error.is_transient() => sleep(RETRY).await,
            Err(error) => {
                connection.simulation.report_violation(format!("a process could not open the log: {error}"));
                sleep(RETRY).await;
            }
        }
    }
}

/// Reports panics of tasks.
async fn propagate_panics(simulation: &Simulation, tasks: &mut JoinSet<()>) {
    while let Some(done) = tasks.join_next().await {
        if let Err(panic) = done {
            simulation.report_violation(format!("a task of the simulation has panicked: {panic}"));
        }
    }
    pending::<()>().await;
}

/// Waits for that long; once faults are disabled, forever.
async fn stop_after(simulation: &Simulation, wait: Option<Duration>) {
    sleep(wait.unwrap_or(Duration::MAX)).await;
    if simulation.faults.is_disabled() {
        pending::<()>().await;
    }
}

/// Crashes at a random time, between calls or during one.
async fn crash_at_random(connection: &Connection) {
    if connection.simulation.random.permille(150) {
        sleep(connection.simulation.random.millis(1..=3000)).await;
        if !connection.simulation.faults.is_disabled() {
            connection.lifetime.end();
        }
    }
}

//! One run: a fault phase under load, then recovery, then the final checks.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use projections::ProjectionContext;
use store::{EventQuery, EventStore};
use tokio::runtime::Builder;
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep, timeout};

use crate::coverage::Coverage;
use crate::final_state_check::{check_personal, check_rows, check_seal, check_vault, check_verified};
use crate::history_checker::HistoryChecker;
use crate::item_projection;
use crate::node::run_slot;
use crate::recovery::check_recovery;
use crate::releases::newest;
use crate::shared_state::Simulation;

/// The fault phase ends when all clients are done, or after this.
const FAULT_PHASE: Duration = Duration::from_secs(30);
const PAUSE: Duration = Duration::from_millis(200);

/// The outcome of a run.
pub(crate) struct RunOutcome {
    /// The first violated invariant, if any.
    pub(crate) broken: Option<String>,
    pub(crate) coverage: Coverage,
    /// Of all steps; equal for equal runs.
    pub(crate) digest: u64,
}

/// Runs a seed, optionally printing its steps. Time is simulated and the runtime single-threaded, so the seed
/// determines everything.
pub(crate) fn run(seed: u64, verbose: bool) -> RunOutcome {
    item_projection::resume();
    let runtime = Builder::new_current_thread().enable_time().start_paused(true).build().unwrap();
    let (broken, simulation) = runtime.block_on(async {
        let simulation = Arc::new(Simulation::new(seed, verbose));
        (run_phases(&simulation).await.err(), simulation)
    });
    drop(runtime);
    // Break the reference cycle between node and simulation.
    for slot in &simulation.slots {
        slot.node.lock().unwrap().take();
    }
    let digest = simulation.trace.digest();
    let Simulation { coverage, .. } = Arc::into_inner(simulation).expect("no task outlives its runtime");
    RunOutcome { broken, coverage, digest }
}

async fn run_phases(simulation: &Arc<Simulation>) -> Result<(), String> {
    simulation.trace.log(|| format!("{:?}", simulation.faults));
    let mut processes = JoinSet::new();
    for slot in 0..simulation.slots.len() {
        processes.spawn(run_slot(Arc::clone(simulation), slot));
    }
    let began = Instant::now();
    tokio::select! {
        biased;
        promise = simulation.violation() => return Err(promise),
        () = fault_phase(simulation) => {}
    }
    simulation.trace.log(|| "calm".to_owned());
    simulation.coverage.add("fault phase seconds", began.elapsed().as_secs());
    simulation.faults.disable();
    simulation.memory.set_clock_ahead(Duration::ZERO);
    item_projection::resume();
    tokio::select! {
        biased;
        promise = simulation.violation() => return Err(promise),
        recovered = check_recovery(simulation) => recovered?,
        ended = processes.join_next() => return Err(format!("a process ended by itself: {ended:?}")),
    }
    simulation.trace.log(|| "the end".to_owned());
    processes.shutdown().await;
    simulation.coverage.add("calls", simulation.calls());
    simulation.coverage.add("simulated seconds", began.elapsed().as_secs());
    timeout(FAULT_PHASE, final_checks(simulation))
        .await
        .map_err(|_| "the reckoning does not end".to_owned())?
}

async fn fault_phase(simulation: &Simulation) {
    let done = || {
        let mut clients = simulation.slots.iter().flat_map(|slot| &slot.clients);
        clients.all(|left| left.load(Ordering::Relaxed) == 0)
    };
    let worked = timeout(FAULT_PHASE, async {
        while !done() {
            sleep(PAUSE).await;
        }
    });
    // Clients that are not done continue without faults.
    drop(worked.await);
}

/// Checks requests, answers, observations and stored data against each other.
async fn final_checks(simulation: &Simulation) -> Result<(), String> {
    let env = simulation.env();
    let store = EventStore::open(Arc::new(simulation.memory.clone()), simulation.master.clone(), env).await;
    let store = store.map_err(|error| error.to_string())?;
    let everything = EventQuery { limit: usize::MAX, ..EventQuery::default() };
    let recorded = store.read(&everything).await.map_err(|error| error.to_string())?;
    let log: Vec<_> = recorded.iter().map(|event| event.envelope.clone()).collect();
    let records = simulation.history.records();
    simulation.coverage.add("events", u64::try_from(log.len()).unwrap());

    check_seal(simulation, &store, &log).await?;
    let model = HistoryChecker::check(&log, &records, &simulation.coverage)?;
    check_vault(simulation, &store, &model).await?;
    check_personal(&recorded, &records, &model)?;
    let rows = Arc::new(simulation.memory.clone());
    let context = ProjectionContext { events: store, rows: rows.clone(), leases: rows };
    for projection in newest() {
        check_rows(simulation, projection, &recorded).await?;
        check_verified(&context, projection).await?;
    }
    for slot in &simulation.slots {
        let observed = slot.observed.lock().unwrap();
        if log.get(..observed.len()) != Some(&observed) {
            return Err("a follower has seen what is not in the log".to_owned());
        }
    }
    Ok(())
}

//! State shared by all processes of a run: database, faults, history and node slots.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};

use domain::UserId;
use store::memory::Memory;
use store::{Backend, Entropy, Env, Envelope, MasterKey, Position, StoreProgress, StreamId};
use tokio::sync::Notify;

use crate::clock::NodeClock;
use crate::coverage::Coverage;
use crate::fault_injector::FaultInjector;
use crate::history::History;
use crate::invariant_monitor::DatabaseState;
use crate::node::Node;
use crate::notifications::Notifications;
use crate::random::SeededRandom;
use crate::trace::Trace;

/// More calls than this indicate a livelock.
const MAX_CALLS: u64 = 100_000;

pub(crate) struct Simulation {
    pub(crate) random: SeededRandom,
    pub(crate) faults: FaultInjector,
    pub(crate) memory: Memory,
    pub(crate) master: MasterKey,
    pub(crate) history: History,
    pub(crate) coverage: Coverage,
    pub(crate) trace: Trace,
    /// Calls that are stalled or will be executed later.
    pub(crate) outstanding: Outstanding,
    pub(crate) slots: Vec<NodeSlot>,
    /// The users that clients have tried to register.
    pub(crate) users: Mutex<Vec<UserId>>,
    /// The streams that clients have tried to create.
    pub(crate) items: Mutex<Vec<StreamId>>,
    /// The maximum pause of a client between requests, in milliseconds.
    pub(crate) max_pause: u64,
    entropy: Arc<dyn Entropy>,
    database_state: Mutex<DatabaseState>,
    calls: AtomicU64,
    broken: Mutex<Option<String>>,
    violated: Notify,
}

/// A slot in which one process runs after the other.
#[derive(Default)]
pub(crate) struct NodeSlot {
    /// The running process, once it is open.
    pub(crate) node: Mutex<Option<Arc<Node>>>,
    pub(crate) notifications: Mutex<Option<Notifications>>,
    /// The events observed by its feed subscriber.
    pub(crate) observed: Mutex<Vec<Envelope>>,
    /// The remaining requests of each client.
    pub(crate) clients: Vec<AtomicU64>,
    /// The remaining changes of its operators.
    pub(crate) changes: AtomicU64,
    /// The number of processes so far.
    pub(crate) incarnations: AtomicU64,
    /// Whether it is upgraded at some time; then it also projects, so that a node supports the new projection
    /// version.
    pub(crate) gets_upgrade: bool,
    /// Whether it runs the next release.
    pub(crate) upgraded: AtomicBool,
    /// Whether its processes project.
    pub(crate) projects: bool,
    /// Whether its processes never receive notifications.
    pub(crate) notifications_blocked: bool,
}

/// Counts outstanding calls.
#[derive(Clone, Default)]
pub(crate) struct Outstanding(Arc<AtomicU64>);

/// An outstanding call, until it is dropped.
pub(crate) struct OutstandingCall(Outstanding);

impl Outstanding {
    pub(crate) fn begin(&self) -> OutstandingCall {
        self.0.fetch_add(1, Ordering::Relaxed);
        OutstandingCall(self.clone())
    }

    pub(crate) fn is_none(&self) -> bool {
        self.0.load(Ordering::Relaxed) == 0
    }
}

impl Drop for OutstandingCall {
    fn drop(&mut self) {
        self.0.0.fetch_sub(1, Ordering::Relaxed);
    }
}

impl Simulation {
    /// The simulation of a seed.
    pub(crate) fn new(seed: u64, verbose: bool) -> Self {
        let random = SeededRandom::new(seed);
        let entropy: Arc<dyn Entropy> = Arc::new(random.fork());
        let trace = Trace::new(verbose);
        let faults = FaultInjector::new(&random);
        let gets_upgrade = random.permille(300);
        let projects = |number| number == 0 || random.permille(600);
        let slot = |projects| NodeSlot {
            projects,
            clients: (0..random.within(1..=5)).map(|_| random.within(1..=4).into()).collect(),
            changes: random.pick(&[0, 0, 1, 3, 6]).to_owned().into(),
            gets_upgrade: gets_upgrade && projects && random.permille(700),
            notifications_blocked: random.permille(200),
            ..NodeSlot::default()
        };
        let slots = (0..*random.pick(&[1, 2, 2, 3])).map(projects).map(slot).collect();
        let env = Env::new(Arc::new(NodeClock::new(trace.began(), &random)), entropy.clone());
        Self {
            faults,
            memory: Memory::default(),
            master: MasterKey::generate(&env),
            history: History::default(),
            coverage: Coverage::default(),
            trace,
            outstanding: Outstanding::default(),
            slots,
            users: Mutex::default(),
            items: Mutex::default(),
            max_pause: *random.pick(&[2, 20, 100]),
            entropy,
            database_state: Mutex::default(),
            calls: AtomicU64::default(),
            broken: Mutex::default(),
            violated: Notify::new(),
            random,
        }
    }

    /// Clock and randomness of a new process.
    pub(crate) fn env(&self) -> Env {
        let clock = NodeClock::new(self.trace.began(), &self.random);
        Env::new(Arc::new(clock), Arc::clone(&self.entropy))
    }

    /// Counts a call to the database.
    pub(crate) fn call(&self, node: usize, what: &'static str) {
        self.trace.step(node, what, "is asked");
        if self.calls.fetch_add(1, Ordering::Relaxed) == MAX_CALLS {
            self.report_violation(format!("more than {MAX_CALLS} calls: something goes round in circles"));
        }
    }

    /// The number of calls so far.
    pub(crate) fn calls(&self) -> u64 {
        self.calls.load(Ordering::Relaxed)
    }

    /// Whether no more calls are executed.
    pub(crate) fn call_limit_reached(&self) -> bool {
        self.calls() > MAX_CALLS
    }

    /// Checks the invariants after a call that may have changed the database, and notifies the processes.
    pub(crate) async fn check_and_notify(&self) {
        let now = DatabaseState::of(&self.memory).await;
        let fault = {
            let mut database_state = self.database_state.lock().unwrap();
            let fault = now.violation_since(&database_state);
            now.count_since(&database_state, &self.coverage);
            *database_state = now;
            fault
        };
        if let Some(fault) = fault {
            self.report_violation(fault);
        }
        let progress = self.progress();
        for slot in &self.slots {
            if let Some(notifications) = &*slot.notifications.lock().unwrap() {
                notifications.deliver(self, &progress);
            }
        }
    }

    /// The head as it was after the last call that may have moved it.
    pub(crate) fn head(&self) -> Position {
        self.database_state.lock().unwrap().head
    }

    /// The progress of the database.
    pub(crate) fn progress(&self) -> StoreProgress {
        self.memory.watch_progress().borrow_and_update().clone()
    }

    /// Reports a violated invariant. Only the first one counts.
    pub(crate) fn report_violation(&self, promise: String) {
        self.trace.log(|| format!("BROKEN: {promise}"));
        self.broken.lock().unwrap().get_or_insert(promise);
        self.violated.notify_one();
    }

    /// Waits for a violation.
    pub(crate) async fn violation(&self) -> String {
        loop {
            if let Some(promise) = self.broken.lock().unwrap().clone() {
                return promise;
            }
            self.violated.notified().await;
        }
    }
}

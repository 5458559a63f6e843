//! What all processes of a run share: the database, the weather, the history, and the list of who is there.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};

use domain::UserId;
use store::memory::Memory;
use store::{Ambient, Backend, Entropy, Envelope, MasterKey, Position, Signal, StreamId};
use tokio::sync::Notify;

use crate::board::Ears;
use crate::chance::Chance;
use crate::clock::NodeClock;
use crate::history::History;
use crate::node::Node;
use crate::sentry::Stand;
use crate::tally::Tally;
use crate::trace::Trace;
use crate::weather::Weather;

/// More calls than this are no work but a loop.
const MOST_CALLS: u64 = 100_000;

pub(crate) struct World {
    pub(crate) chance: Chance,
    pub(crate) weather: Weather,
    pub(crate) memory: Memory,
    pub(crate) master: MasterKey,
    pub(crate) history: History,
    pub(crate) tally: Tally,
    pub(crate) trace: Trace,
    /// Calls that are held up, or still to be done although nobody waits for them.
    pub(crate) late: Outstanding,
    pub(crate) places: Vec<Place>,
    /// The users that somebody has tried to register.
    pub(crate) people: Mutex<Vec<UserId>>,
    /// The streams that somebody has tried to open.
    pub(crate) things: Mutex<Vec<StreamId>>,
    /// How long a client rests between two requests, at most, in milliseconds.
    pub(crate) rest: u64,
    entropy: Arc<dyn Entropy>,
    stand: Mutex<Stand>,
    calls: AtomicU64,
    broken: Mutex<Option<String>>,
    breaks: Notify,
}

/// Where one process after the other lives.
#[derive(Default)]
pub(crate) struct Place {
    /// The process that lives there now, once it is open.
    pub(crate) node: Mutex<Option<Arc<Node>>>,
    pub(crate) ears: Mutex<Option<Ears>>,
    /// What the follower of the feed there has seen so far.
    pub(crate) seen: Mutex<Vec<Envelope>>,
    /// How much each of its clients has still to do.
    pub(crate) clients: Vec<AtomicU64>,
    /// How much its operators have still to do.
    pub(crate) changes: AtomicU64,
    /// How many processes have lived there.
    pub(crate) lives: AtomicU64,
    /// Whether it gets the next program some time; then it also projects, or nobody would know the new fold.
    pub(crate) renews: bool,
    /// Whether it has it.
    pub(crate) is_new: AtomicBool,
    /// Whether its processes project, or leave that to others.
    pub(crate) projects: bool,
    /// Whether its processes hear nothing, ever.
    pub(crate) deaf: bool,
}

/// Counts what is under way.
#[derive(Clone, Default)]
pub(crate) struct Outstanding(Arc<AtomicU64>);

/// Something under way, until it is dropped.
pub(crate) struct UnderWay(Outstanding);

impl Outstanding {
    pub(crate) fn begin(&self) -> UnderWay {
        self.0.fetch_add(1, Ordering::Relaxed);
        UnderWay(self.clone())
    }

    pub(crate) fn is_none(&self) -> bool {
        self.0.load(Ordering::Relaxed) == 0
    }
}

impl Drop for UnderWay {
    fn drop(&mut self) {
        self.0.0.fetch_sub(1, Ordering::Relaxed);
    }
}

impl World {
    /// The world of a seed.
    pub(crate) fn new(seed: u64, shown: bool) -> Self {
        let chance = Chance::new(seed);
        let entropy: Arc<dyn Entropy> = Arc::new(chance.fork());
        let trace = Trace::new(shown);
        let weather = Weather::new(&chance);
        let renews = chance.happens(300);
        let projects = |number| number == 0 || chance.happens(600);
        let place = |projects| Place {
            projects,
            clients: (0..chance.within(1..=5)).map(|_| chance.within(1..=4).into()).collect(),
            changes: chance.pick(&[0, 0, 1, 3, 6]).to_owned().into(),
            renews: renews && projects && chance.happens(700),
            deaf: chance.happens(200),
            ..Place::default()
        };
        let places = (0..*chance.pick(&[1, 2, 2, 3])).map(projects).map(place).collect();
        let ambient = Ambient::new(Arc::new(NodeClock::new(trace.began(), &chance)), entropy.clone());
        Self {
            weather,
            memory: Memory::default(),
            master: MasterKey::generate(&ambient),
            history: History::default(),
            tally: Tally::default(),
            trace,
            late: Outstanding::default(),
            places,
            people: Mutex::default(),
            things: Mutex::default(),
            rest: *chance.pick(&[2, 20, 100]),
            entropy,
            stand: Mutex::default(),
            calls: AtomicU64::default(),
            broken: Mutex::default(),
            breaks: Notify::new(),
            chance,
        }
    }

    /// Time and chance of a new process.
    pub(crate) fn ambient(&self) -> Ambient {
        let clock = NodeClock::new(self.trace.began(), &self.chance);
        Ambient::new(Arc::new(clock), Arc::clone(&self.entropy))
    }

    /// A process calls the database.
    pub(crate) fn call(&self, node: usize, what: &'static str) {
        self.trace.step(node, what, "is asked");
        if self.calls.fetch_add(1, Ordering::Relaxed) == MOST_CALLS {
            self.broken(format!("more than {MOST_CALLS} calls: something goes round in circles"));
        }
    }

    /// How many calls there were so far.
    pub(crate) fn calls(&self) -> u64 {
        self.calls.load(Ordering::Relaxed)
    }

    /// Whether there were so many that no more are carried.
    pub(crate) fn is_worn_out(&self) -> bool {
        self.calls() > MOST_CALLS
    }

    /// Something may have moved in the database: it is looked at, and those who hear are told.
    pub(crate) async fn moved(&self) {
        let now = Stand::of(&self.memory).await;
        let fault = {
            let mut stand = self.stand.lock().unwrap();
            let fault = now.fault_after(&stand);
            now.count_since(&stand, &self.tally);
            *stand = now;
            fault
        };
        if let Some(fault) = fault {
            self.broken(fault);
        }
        let signal = self.signal();
        for place in &self.places {
            if let Some(ears) = &*place.ears.lock().unwrap() {
                ears.hear(self, &signal);
            }
        }
    }

    /// The head as it was after the last call that may have moved it.
    pub(crate) fn head(&self) -> Position {
        self.stand.lock().unwrap().head
    }

    /// How far everything is, as the database says.
    pub(crate) fn signal(&self) -> Signal {
        self.memory.signals().borrow_and_update().clone()
    }

    /// A promise is broken. The first one counts; the others follow from it.
    pub(crate) fn broken(&self, promise: String) {
        self.trace.say(|| format!("BROKEN: {promise}"));
        self.broken.lock().unwrap().get_or_insert(promise);
        self.breaks.notify_one();
    }

    /// Waits until a promise is broken.
    pub(crate) async fn breaks(&self) -> String {
        loop {
            if let Some(promise) = self.broken.lock().unwrap().clone() {
                return promise;
            }
            self.breaks.notified().await;
        }
    }
}

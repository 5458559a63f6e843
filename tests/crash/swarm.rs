//! Clients: each makes users and changes them, one write after the other, and writes down what it was told. When it is
//! not told what has become of a write it sends it again under the same key, at any service, or leaves it and turns to
//! another user.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use testkit::service::Client;
use tokio::task::JoinSet;
use tokio::time::sleep;

use crate::chance::Chance;
use crate::journal::{Attempt, Journal, Outcome};
use crate::write::{ROLES, Write};

/// How many clients a service has.
const CLIENTS: usize = 6;
/// The longest pause of a client between two writes.
const PAUSE: Duration = Duration::from_millis(12);
/// How long a client waits after a failure.
const REST: Duration = Duration::from_millis(60);
/// One in so many writes is sent without a key, as clients do that cannot send anything again.
const KEYLESS: usize = 5;
/// How often a client sends a write again before it leaves it.
const REPETITIONS: usize = 3;

/// What all clients share.
#[derive(Clone)]
pub(crate) struct Desk {
    pub(crate) services: Vec<Client>,
    /// The access token of an administrator.
    pub(crate) token: String,
    /// How long a client waits for an answer.
    pub(crate) patience: Duration,
    pub(crate) journal: Arc<Journal>,
}

impl Desk {
    /// Sends a write and notes what came of it.
    pub(crate) async fn attempt(
        &self,
        place: usize,
        write: &Write,
        key: Option<&str>,
        service: usize,
    ) -> Outcome {
        let mut request = write.request(&self.services[service], &self.token).within(self.patience);
        if let Some(key) = key {
            request = request.header("Idempotency-Key", key);
        }
        let sent = self.journal.now();
        let outcome = Outcome::of(&request.try_send().await);
        let answered = self.journal.now();
        self.journal.add(place, Attempt { service, sent, answered, outcome: outcome.clone() });
        outcome
    }
}

/// Clients at work.
pub(crate) struct Swarm {
    stop: Arc<AtomicBool>,
    clients: JoinSet<()>,
}

impl Swarm {
    /// Sets clients to work, the same number at each service.
    pub(crate) fn start(desk: &Desk, chance: &mut Chance) -> Self {
        let stop = Arc::<AtomicBool>::default();
        let numbers = Arc::<AtomicUsize>::default();
        let client = |number: usize| Worker {
            desk: desk.clone(),
            home: number % desk.services.len(),
            numbers: Arc::clone(&numbers),
            chance: chance.split(),
            stop: Arc::clone(&stop),
        };
        let clients: Vec<_> = (0..CLIENTS * desk.services.len()).map(client).collect();
        Self { stop, clients: clients.into_iter().map(Worker::work).collect() }
    }

    /// Waits until every client has finished what it has begun.
    pub(crate) async fn stop(mut self) {
        self.stop.store(true, Ordering::Relaxed);
        while let Some(ended) = self.clients.join_next().await {
            ended.unwrap();
        }
    }
}

struct Worker {
    desk: Desk,
    home: usize,
    /// So that all clients take different names.
    numbers: Arc<AtomicUsize>,
    chance: Chance,
    stop: Arc<AtomicBool>,
}

impl Worker {
    async fn work(mut self) {
        while !self.stopped() {
            if let Some(id) = self.new_user().await {
                self.change(&id).await;
            }
        }
    }

    fn stopped(&self) -> bool {
        self.stop.load(Ordering::Relaxed)
    }

    /// Signs up somebody; their id, if that went well.
    async fn new_user(&mut self) -> Option<String> {
        let number = self.numbers.fetch_add(1, Ordering::Relaxed);
        let name = format!("user{number}");
        let email = if self.chance.once_in(6) {
            // Two at once, or one after the other, want the same: one gets it.
            format!("wanted{}@example.com", number / 12)
        } else {
            format!("{name}@example.com")
        };
        let told = self.carry_out(Write::SignUp { name, email }).await?;
        // `Location` ends with it.
        told.split(' ').find_map(|word| word.strip_prefix("/api/v1/users/")).map(str::to_owned)
    }

    /// Changes a user until something is refused or left open.
    async fn change(&mut self, id: &str) {
        let id = || id.to_owned();
        let reason = "a client asked for it".to_owned();
        let first = self.chance.below(ROLES.len());
        let second = (first + 1 + self.chance.below(ROLES.len() - 1)) % ROLES.len();
        let mut writes = vec![
            Write::Grant { id: id(), role: ROLES[first] },
            Write::Revoke { id: id(), role: ROLES[first] },
            Write::Deactivate { id: id(), reason: reason.clone() },
            Write::Reactivate { id: id(), reason: reason.clone() },
            Write::Grant { id: id(), role: ROLES[second] },
            Write::Revoke { id: id(), role: ROLES[second] },
        ];
        if self.chance.once_in(4) {
            let stale = Write::Stale { id: id(), reason: "nobody should get this".to_owned() };
            writes.insert(self.chance.below(writes.len()), stale);
        }
        for write in writes {
            let in_vain = matches!(write, Write::Stale { .. });
            if self.stopped() || self.carry_out(write).await.is_none() && !in_vain {
                return;
            }
        }
    }

    /// Sends a write until it is known what has become of it, or not. What was told, if it was done.
    async fn carry_out(&mut self, write: Write) -> Option<String> {
        let pause = self.chance.between(Duration::ZERO, PAUSE);
        sleep(pause).await;
        let (place, key) = self.desk.journal.begin(write.clone(), !self.chance.once_in(KEYLESS));
        let mut service = self.home;
        for _ in 0..=REPETITIONS {
            match self.desk.attempt(place, &write, key.as_deref(), service).await {
                Outcome::Done { told, .. } => return Some(told),
                Outcome::Unchanged | Outcome::Refused { .. } => return None,
                Outcome::NotDone { .. } => {
                    sleep(REST).await;
                    return None;
                }
                Outcome::Running | Outcome::Unknown { .. } => {
                    sleep(REST).await;
                    if self.stopped() || key.is_none() || self.chance.once_in(2) {
                        return None;
                    }
                    service = self.chance.below(self.desk.services.len());
                }
            }
        }
        None
    }
}

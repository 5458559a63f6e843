//! Simulated clients: each creates and changes users, one write after the other, and records every response.
//! A write whose outcome is unknown is sent again under the same idempotency key, to any service, or
//! abandoned.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use testkit::service::Client;
use tokio::task::JoinSet;
use tokio::time::sleep;

use crate::client_write::{ClientWrite, ROLES};
use crate::journal::{Attempt, Journal, WriteOutcome};
use crate::seeded_rng::SeededRng;

const CLIENTS_PER_SERVICE: usize = 6;
/// The longest pause between two writes of a client.
const MAX_PAUSE: Duration = Duration::from_millis(12);
/// The pause after a failure.
const RETRY_PAUSE: Duration = Duration::from_millis(60);
/// One in this many writes is sent without an idempotency key.
const KEYLESS_ONE_IN: usize = 5;
/// How often a client retries a write before abandoning it.
const MAX_RETRIES: usize = 3;

/// State shared by all clients.
#[derive(Clone)]
pub(crate) struct ClientContext {
    pub(crate) services: Vec<Client>,
    /// The access token of an administrator.
    pub(crate) token: String,
    pub(crate) timeout: Duration,
    pub(crate) journal: Arc<Journal>,
}

impl ClientContext {
    /// Sends a write and records the outcome.
    pub(crate) async fn attempt(
        &self,
        index: usize,
        write: &ClientWrite,
        key: Option<&str>,
        service: usize,
    ) -> WriteOutcome {
        let mut request = write.request(&self.services[service], &self.token).timeout(self.timeout);
        if let Some(key) = key {
            request = request.header("Idempotency-Key", key);
        }
        let sent = self.journal.now();
        let outcome = WriteOutcome::of(&request.try_send().await);
        let answered = self.journal.now();
        self.journal.add(index, Attempt { service, sent, answered, outcome: outcome.clone() });
        outcome
    }
}

/// Running clients.
pub(crate) struct Clients {
    stop: Arc<AtomicBool>,
    clients: JoinSet<()>,
}

impl Clients {
    /// Starts the same number of clients for each service.
    pub(crate) fn start(context: &ClientContext, rng: &mut SeededRng) -> Self {
        let stop = Arc::<AtomicBool>::default();
        let numbers = Arc::<AtomicUsize>::default();
        let client = |number: usize| SimulatedClient {
            context: context.clone(),
            home: number % context.services.len(),
            numbers: Arc::clone(&numbers),
            rng: rng.fork(),
            stop: Arc::clone(&stop),
        };
        let clients: Vec<_> = (0..CLIENTS_PER_SERVICE * context.services.len()).map(client).collect();
        Self { stop, clients: clients.into_iter().map(SimulatedClient::work).collect() }
    }

    /// Waits until every client has finished its current write.
    pub(crate) async fn stop(mut self) {
        self.stop.store(true, Ordering::Relaxed);
        while let Some(ended) = self.clients.join_next().await {
            ended.unwrap();
        }
    }
}

struct SimulatedClient {
    context: ClientContext,
    home: usize,
    /// Shared counter that makes usernames unique.
    numbers: Arc<AtomicUsize>,
    rng: SeededRng,
    stop: Arc<AtomicBool>,
}

impl SimulatedClient {
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

    /// Signs up a user and returns the id if acknowledged.
    async fn new_user(&mut self) -> Option<String> {
        let number = self.numbers.fetch_add(1, Ordering::Relaxed);
        let name = format!("user{number}");
        let email = if self.rng.one_in(6) {
            // Clients compete for these addresses: one of them wins.
            format!("wanted{}@example.com", number / 12)
        } else {
            format!("{name}@example.com")
        };
        let response = self.send_until_settled(ClientWrite::SignUp { name, email }).await?;
        // The `Location` ends with the id.
        response.split(' ').find_map(|word| word.strip_prefix("/api/v1/users/")).map(str::to_owned)
    }

    /// Changes a user until a write is rejected or abandoned.
    async fn change(&mut self, id: &str) {
        let id = || id.to_owned();
        let reason = "a client asked for it".to_owned();
        let first = self.rng.below(ROLES.len());
        let second = (first + 1 + self.rng.below(ROLES.len() - 1)) % ROLES.len();
        let mut writes = vec![
            ClientWrite::Grant { id: id(), role: ROLES[first] },
            ClientWrite::Revoke { id: id(), role: ROLES[first] },
            ClientWrite::Deactivate { id: id(), reason: reason.clone() },
            ClientWrite::Reactivate { id: id(), reason: reason.clone() },
            ClientWrite::Grant { id: id(), role: ROLES[second] },
            ClientWrite::Revoke { id: id(), role: ROLES[second] },
        ];
        if self.rng.one_in(4) {
            let stale = ClientWrite::Stale { id: id(), reason: "must be rejected".to_owned() };
            writes.insert(self.rng.below(writes.len()), stale);
        }
        for write in writes {
            let in_vain = matches!(write, ClientWrite::Stale { .. });
            if self.stopped() || self.send_until_settled(write).await.is_none() && !in_vain {
                return;
            }
        }
    }

    /// Sends a write until its outcome is known or it is abandoned. Returns the response if acknowledged.
    async fn send_until_settled(&mut self, write: ClientWrite) -> Option<String> {
        let pause = self.rng.duration_between(Duration::ZERO, MAX_PAUSE);
        sleep(pause).await;
        let (index, key) = self.context.journal.begin(write.clone(), !self.rng.one_in(KEYLESS_ONE_IN));
        let mut service = self.home;
        for _ in 0..=MAX_RETRIES {
            match self.context.attempt(index, &write, key.as_deref(), service).await {
                WriteOutcome::Acknowledged { response, .. } => return Some(response),
                WriteOutcome::Unchanged | WriteOutcome::Rejected { .. } => return None,
                WriteOutcome::NotExecuted { .. } => {
                    sleep(RETRY_PAUSE).await;
                    return None;
                }
                WriteOutcome::InProgress | WriteOutcome::Unknown { .. } => {
                    sleep(RETRY_PAUSE).await;
                    if self.stopped() || key.is_none() || self.rng.one_in(2) {
                        return None;
                    }
                    service = self.rng.below(self.context.services.len());
                }
            }
        }
        None
    }
}

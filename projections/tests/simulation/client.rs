//! A client of one process: sends one request after another and records every append with its answer.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use serde_json::{Map, Value};
use store::{Append, AppendError, Appended, Claim, ExpectedVersion, NewEvent, StreamId, StreamWrite};
use tokio::time::{sleep, timeout};

use crate::node::Node;
use crate::random::SeededRandom;
use crate::shared_state::Simulation;

/// The names that clients compete for.
const NAMES: [&str; 5] = ["ada", "bob", "cyd", "dan", "eve"];

pub(crate) struct Client {
    pub(crate) simulation: Arc<Simulation>,
    pub(crate) node: Arc<Node>,
    pub(crate) random: SeededRandom,
}

impl Client {
    pub(crate) fn new(simulation: &Arc<Simulation>, node: &Arc<Node>) -> Self {
        Self { simulation: Arc::clone(simulation), node: Arc::clone(node), random: simulation.random.fork() }
    }

    /// Sends the remaining requests.
    pub(crate) async fn work(&self, left: &AtomicU64) {
        while left.load(Ordering::Relaxed) > 0 {
            left.fetch_sub(1, Ordering::Relaxed);
            sleep(self.random.millis(0..=self.simulation.max_pause)).await;
            match self.random.below(112) {
                0..25 => self.sign_up().await,
                25..42 => self.change_user().await,
                42..54 => self.open_item().await,
                54..68 => self.rename_item().await,
                68..78 => self.swap_names().await,
                78..87 => self.write_several_streams().await,
                87..97 => self.erase_item().await,
                100..112 => self.check_token().await,
                _ => self.erase_without_personal_data().await,
            }
        }
    }

    /// Appends; `None` if the client disconnects before the answer. With an idempotency key it then retries.
    pub(crate) async fn append(&self, writes: Vec<StreamWrite>) -> Option<Result<Appended, AppendError>> {
        let number = self.random.next();
        let key = || self.node.store.idempotency_key(&[&number.to_be_bytes()], &[]);
        let idempotency = self.random.permille(300).then(key);
        let append = Append { idempotency, ..Append::new("system", format!("request-{number}"), writes) };
        let number = self.simulation.history.begin(&append, self.simulation.head());
        let first = if self.random.permille(30) {
            timeout(self.random.millis(0..=100), self.node.store.append(&append)).await.ok()
        } else {
            Some(self.node.store.append(&append).await)
        };
        let answer = match first {
            None | Some(Err(AppendError::Unknown(_))) if idempotency.is_some() => {
                self.retry_append(&append).await?
            }
            answer => answer?,
        };
        self.simulation.trace.log(|| format!("append {number}: {answer:?}"));
        self.simulation.history.end(number, answer.clone(), self.simulation.head());
        Some(answer)
    }

    /// Retries under the same idempotency key; the first request may still be in flight.
    async fn retry_append(&self, append: &Append) -> Option<Result<Appended, AppendError>> {
        sleep(self.random.millis(0..=self.simulation.max_pause)).await;
        self.simulation.coverage.count("retries with an idempotency key");
        match self.node.store.append(append).await {
            answer @ (Ok(_) | Err(AppendError::DuplicateRequest)) => Some(answer),
            Err(_) => None,
        }
    }

    pub(crate) fn name(&self) -> &'static str {
        self.random.pick::<&str>(&NAMES)
    }

    /// Mostly the version read, sometimes any version.
    pub(crate) fn expected(&self, version: u64) -> ExpectedVersion {
        if self.random.permille(250) { ExpectedVersion::Any } else { ExpectedVersion::version(version) }
    }

    pub(crate) fn event(
        &self,
        event_type: &str,
        data: Map<String, Value>,
        personal: Map<String, Value>,
    ) -> NewEvent {
        let id = self.node.env.uuid();
        NewEvent { id, event_type: event_type.to_owned(), schema: 1, data, personal }
    }

    /// An event without personal data.
    pub(crate) fn plain_event(&self) -> NewEvent {
        self.event("ItemNoted", Map::from_iter([("note".to_owned(), self.name().into())]), Map::new())
    }

    pub(crate) fn random_item(&self) -> Option<StreamId> {
        let items = self.simulation.items.lock().unwrap();
        (!items.is_empty()).then(|| self.random.pick(&items).clone())
    }
}

/// A unique claim as the domain builds it.
pub(crate) fn claim(kind: &'static str, name: &str) -> Claim {
    let value = if kind == "email" { format!("{name}@example.com") } else { name.to_owned() };
    Claim { kind, value }
}

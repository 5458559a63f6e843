//! A client of one process: asks for one thing after another, and has every append and its answer written down.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use serde_json::{Map, Value};
use store::{Append, AppendError, Appended, Claim, Expected, NewEvent, StreamId, StreamWrite};
use tokio::time::{sleep, timeout};

use crate::chance::Chance;
use crate::node::Node;
use crate::world::World;

/// Whoever wants a name wants one of these.
const NAMES: [&str; 5] = ["ada", "bob", "cyd", "dan", "eve"];

pub(crate) struct Client {
    pub(crate) world: Arc<World>,
    pub(crate) node: Arc<Node>,
    pub(crate) chance: Chance,
}

impl Client {
    pub(crate) fn new(world: &Arc<World>, node: &Arc<Node>) -> Self {
        Self { world: Arc::clone(world), node: Arc::clone(node), chance: world.chance.fork() }
    }

    /// Does what is left to do.
    pub(crate) async fn work(&self, left: &AtomicU64) {
        while left.load(Ordering::Relaxed) > 0 {
            left.fetch_sub(1, Ordering::Relaxed);
            sleep(self.chance.millis(0..=self.world.rest)).await;
            match self.chance.below(100) {
                0..25 => self.sign_up().await,
                25..42 => self.change_somebody().await,
                42..54 => self.open_thing().await,
                54..68 => self.rename_thing().await,
                68..78 => self.swap_names().await,
                78..87 => self.write_to_several().await,
                87..97 => self.erase_thing().await,
                _ => self.erase_what_is_not_personal().await,
            }
        }
    }

    /// Appends; `None` if the client hangs up before it hears what has become of it, or never hears. Under a key it sends
    /// the same once more then.
    pub(crate) async fn append(&self, writes: Vec<StreamWrite>) -> Option<Result<Appended, AppendError>> {
        let number = self.chance.next();
        let key = || self.node.store.idempotency_key(&[&number.to_be_bytes()], &[]);
        let idempotency = self.chance.happens(300).then(key);
        let append = Append { idempotency, ..Append::new("system", format!("request-{number}"), writes) };
        let number = self.world.history.begin(&append, self.world.head());
        let first = if self.chance.happens(30) {
            timeout(self.chance.millis(0..=100), self.node.store.append(&append)).await.ok()
        } else {
            Some(self.node.store.append(&append).await)
        };
        let answer = match first {
            None | Some(Err(AppendError::Unknown(_))) if idempotency.is_some() => {
                self.append_again(&append).await?
            }
            answer => answer?,
        };
        self.world.trace.say(|| format!("append {number}: {answer:?}"));
        self.world.history.end(number, answer.clone(), self.world.head());
        Some(answer)
    }

    /// What a repetition tells of the first, which may yet be under way: only that it was done, or that it is now.
    async fn append_again(&self, append: &Append) -> Option<Result<Appended, AppendError>> {
        sleep(self.chance.millis(0..=self.world.rest)).await;
        self.world.tally.count("sent again under a key");
        match self.node.store.append(append).await {
            told @ (Ok(_) | Err(AppendError::Repeated)) => Some(told),
            Err(_) => None,
        }
    }

    pub(crate) fn name(&self) -> &'static str {
        self.chance.pick::<&str>(&NAMES)
    }

    /// Mostly what the client has read, sometimes whatever there is.
    pub(crate) fn expected(&self, version: u64) -> Expected {
        if self.chance.happens(250) { Expected::Any } else { Expected::version(version) }
    }

    pub(crate) fn event(
        &self,
        event_type: &str,
        data: Map<String, Value>,
        personal: Map<String, Value>,
    ) -> NewEvent {
        let id = self.node.ambient.uuid();
        NewEvent { id, event_type: event_type.to_owned(), schema: 1, data, personal }
    }

    /// An event that says nothing personal.
    pub(crate) fn plain_event(&self) -> NewEvent {
        self.event("ThingNoted", Map::from_iter([("note".to_owned(), self.name().into())]), Map::new())
    }

    pub(crate) fn some_thing(&self) -> Option<StreamId> {
        let things = self.world.things.lock().unwrap();
        (!things.is_empty()).then(|| self.chance.pick(&things).clone())
    }
}

/// The claim on a name of that kind, as the domain makes it.
pub(crate) fn claim(kind: &'static str, name: &str) -> Claim {
    let value = if kind == "email" { format!("{name}@example.com") } else { name.to_owned() };
    Claim { kind, value }
}

//! What every delivery needs, and counts.

use std::sync::Arc;

use domain::{UserId, WebhookCommand, WebhookId};
use projections::decode;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::registry::Registry;
use store::{Ambient, Deliveries, EventStore, StreamId};
use tokio::time::Instant;

use super::may_own;
use super::message::Message;
use super::sender::{SendError, Sender};
use crate::command::{Cause, CommandError, WebhookCommands, WebhookState};
use crate::query::{QueryError, UserQueries};

/// What every delivery needs. Cheap to clone.
#[derive(Clone)]
pub struct Tools {
    pub(super) store: EventStore,
    pub(super) commands: WebhookCommands,
    pub(super) users: UserQueries,
    pub(super) deliveries: Arc<dyn Deliveries>,
    pub(super) ambient: Ambient,
    pub(super) counts: Counts,
}

/// What deliveries from this node have come to.
#[derive(Clone, Default)]
pub(crate) struct Counts {
    attempts: Family<[(&'static str, &'static str); 1], Counter>,
    standing: Family<[(&'static str, &'static str); 1], Gauge>,
}

impl Counts {
    pub(super) fn delivered(&self) {
        self.attempts.get_or_create(&[("outcome", "delivered")]).inc();
    }

    pub(super) fn failed(&self) {
        self.attempts.get_or_create(&[("outcome", "failed")]).inc();
    }

    /// How many webhooks this node delivers, and how many nobody does.
    pub(super) fn stand(&self, active: usize, parked: usize) {
        for (state, count) in [("active", active), ("parked", parked)] {
            self.standing.get_or_create(&[("state", state)]).set(i64::try_from(count).unwrap_or(i64::MAX));
        }
    }

    /// Shows them.
    pub(crate) fn register(&self, registry: &mut Registry) {
        for outcome in ["delivered", "failed"] {
            drop(self.attempts.get_or_create(&[("outcome", outcome)]));
        }
        let attempts = "Attempts of this node to deliver an event to a webhook";
        registry.register("aegis_webhook_attempts", attempts, self.attempts.clone());
        let standing = "Webhooks of the node that delivers: active, or parked until somebody resumes them";
        registry.register("aegis_webhooks", standing, self.standing.clone());
    }
}

/// What came of a test.
#[derive(Clone, Debug)]
pub(crate) struct Tested {
    pub(crate) status: Option<u16>,
    pub(crate) error: Option<String>,
    pub(crate) latency_ms: u64,
}

impl Tools {
    /// For deliveries from that log.
    #[must_use]
    pub fn new(
        store: EventStore,
        commands: WebhookCommands,
        users: UserQueries,
        deliveries: Arc<dyn Deliveries>,
        ambient: Ambient,
    ) -> Self {
        Self { store, commands, users, deliveries, ambient, counts: Counts::default() }
    }

    /// What deliveries from this node have come to.
    pub(crate) fn counts(&self) -> &Counts {
        &self.counts
    }

    /// Whether somebody may be sent events; `None` if there is no such user, or no longer.
    pub(super) async fn may_own(&self, owner: UserId) -> Result<Option<bool>, QueryError> {
        Ok(self.users.by_id(owner).await?.as_ref().map(may_own))
    }

    /// Deletes the webhook if its owner was erased: with them goes what was theirs. That they were is asked of the log, since
    /// it cannot be undone.
    pub(super) async fn delete_if_orphaned(
        &self,
        owner: UserId,
        id: WebhookId,
    ) -> Result<bool, CommandError> {
        if self.users.by_id(owner).await.map_or(true, |row| row.is_some()) {
            return Ok(false);
        }
        let events = self.store.read_stream(&StreamId::known(owner.stream())?).await?;
        let erased =
            events.last().is_some_and(|last| decode::user_event(last).is_ok_and(|event| event.erases()));
        if erased {
            self.commands.execute(&self.cause(), id, &WebhookCommand::Delete).await?;
            tracing::info!(webhook = %id, "a webhook was deleted: its owner was erased");
        }
        Ok(erased)
    }

    /// What the deliverer does by itself.
    pub(super) fn cause(&self) -> Cause {
        Cause::new("system", format!("webhook-{}", self.ambient.uuid().hyphenated()))
    }

    /// Sends a test event at once, whatever else is under way. It is tried once.
    pub(crate) async fn test(&self, sender: &Sender, state: &WebhookState) -> Tested {
        let now = self.ambient.now();
        let message = Message::test(self.ambient.uuid(), self.store.log_id(), &state.id.stream(), now);
        let begun = Instant::now();
        let answer = match state.webhook.as_ref().and_then(|webhook| Some((webhook, webhook.url.known()?))) {
            Some((webhook, url)) => sender.send(url, message.headers(webhook, now), message.body).await,
            None => Err(SendError::Unresolved),
        };
        let (status, error) = outcome(answer.map(|answer| answer.status));
        Tested { status, error, latency_ms: milliseconds(begun) }
    }
}

/// The status of an answer, and what is wrong with it, if anything.
pub(super) fn outcome(answer: Result<u16, SendError>) -> (Option<u16>, Option<String>) {
    match answer {
        Ok(status @ 200..300) => (Some(status), None),
        Ok(status @ 300..400) => (Some(status), Some(format!("status {status}: redirects are not followed"))),
        Ok(status) => (Some(status), Some(format!("status {status}"))),
        Err(error) => (None, Some(error.to_string())),
    }
}

pub(super) fn milliseconds(since: Instant) -> u64 {
    u64::try_from(since.elapsed().as_millis()).unwrap_or(u64::MAX)
}

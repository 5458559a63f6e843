//! What every delivery needs, and counts.

use std::sync::Arc;

use domain::{UserId, WebhookCommand, WebhookId};
use projections::decode;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::registry::Registry;
use store::{DeliveryStore, Env, EventStore, StreamId};
use tokio::time::Instant;

use super::may_own;
use super::message::Message;
use super::sender::{SendError, WebhookSender};
use crate::command::{CommandContext, CommandError, WebhookCommands, WebhookState};
use crate::query::{QueryError, UserQueries};

/// What every delivery needs. Cheap to clone.
#[derive(Clone)]
pub struct DeliveryContext {
    pub(super) store: EventStore,
    pub(super) commands: WebhookCommands,
    pub(super) users: UserQueries,
    pub(super) deliveries: Arc<dyn DeliveryStore>,
    pub(super) env: Env,
    pub(super) metrics: DeliveryMetrics,
}

/// What deliveries from this node have come to.
#[derive(Clone, Default)]
pub(crate) struct DeliveryMetrics {
    attempts: Family<[(&'static str, &'static str); 1], Counter>,
    webhooks: Family<[(&'static str, &'static str); 1], Gauge>,
}

impl DeliveryMetrics {
    pub(super) fn count_delivered(&self) {
        self.attempts.get_or_create(&[("outcome", "delivered")]).inc();
    }

    pub(super) fn count_failed(&self) {
        self.attempts.get_or_create(&[("outcome", "failed")]).inc();
    }

    /// How many webhooks this node delivers, and how many nobody does.
    pub(super) fn set_webhooks(&self, active: usize, suspended: usize) {
        for (state, count) in [("active", active), ("suspended", suspended)] {
            self.webhooks.get_or_create(&[("state", state)]).set(i64::try_from(count).unwrap_or(i64::MAX));
        }
    }

    /// Shows them.
    pub(crate) fn register(&self, registry: &mut Registry) {
        for outcome in ["delivered", "failed"] {
            drop(self.attempts.get_or_create(&[("outcome", outcome)]));
        }
        let attempts = "Attempts of this node to deliver an event to a webhook";
        registry.register("aegis_webhook_attempts", attempts, self.attempts.clone());
        let webhooks = "Webhooks of the node that delivers: active, or suspended until somebody resumes them";
        registry.register("aegis_webhooks", webhooks, self.webhooks.clone());
    }
}

/// What came of a test.
#[derive(Clone, Debug)]
pub(crate) struct TestDelivery {
    pub(crate) status: Option<u16>,
    pub(crate) error: Option<String>,
    pub(crate) latency_ms: u64,
}

impl DeliveryContext {
    /// For deliveries from that log.
    #[must_use]
    pub fn new(
        store: EventStore,
        commands: WebhookCommands,
        users: UserQueries,
        deliveries: Arc<dyn DeliveryStore>,
        env: Env,
    ) -> Self {
        Self { store, commands, users, deliveries, env, metrics: DeliveryMetrics::default() }
    }

    /// What deliveries from this node have come to.
    pub(crate) fn metrics(&self) -> &DeliveryMetrics {
        &self.metrics
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
        let events = self.store.read_stream(&StreamId::from_trusted(owner.stream())?).await?;
        let erased =
            events.last().is_some_and(|last| decode::user_event(last).is_ok_and(|event| event.erases()));
        if erased {
            self.commands.execute(&self.command_context(), id, &WebhookCommand::Delete).await?;
            tracing::info!(webhook = %id, "a webhook was deleted: its owner was erased");
        }
        Ok(erased)
    }

    /// What the deliverer does by itself.
    pub(super) fn command_context(&self) -> CommandContext {
        CommandContext::new("system", format!("webhook-{}", self.env.uuid().hyphenated()))
    }

    /// Sends a test event at once, whatever else is under way. It is tried once.
    pub(crate) async fn test(&self, sender: &WebhookSender, state: &WebhookState) -> TestDelivery {
        let now = self.env.now();
        let message = Message::for_test(self.env.uuid(), self.store.log_id(), &state.id.stream(), now);
        let begun = Instant::now();
        let answer = match state.webhook.as_ref().and_then(|webhook| Some((webhook, webhook.url.known()?))) {
            Some((webhook, url)) => sender.send(url, message.headers(webhook, now), message.body).await,
            None => Err(SendError::Unresolved),
        };
        let (status, error) = status_and_error(answer.map(|answer| answer.status));
        TestDelivery { status, error, latency_ms: elapsed_ms(begun) }
    }
}

/// The status of an answer, and what is wrong with it, if anything.
pub(super) fn status_and_error(answer: Result<u16, SendError>) -> (Option<u16>, Option<String>) {
    match answer {
        Ok(status @ 200..300) => (Some(status), None),
        Ok(status @ 300..400) => (Some(status), Some(format!("status {status}: redirects are not followed"))),
        Ok(status) => (Some(status), Some(format!("status {status}"))),
        Err(error) => (None, Some(error.to_string())),
    }
}

pub(super) fn elapsed_ms(since: Instant) -> u64 {
    u64::try_from(since.elapsed().as_millis()).unwrap_or(u64::MAX)
}

//! What the delivery workers share: the log, the ports, who may own webhooks, and the metrics.

use std::sync::Arc;

use domain::{Role, UserId, WebhookCommand, WebhookId};
use projections::UserRow;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::registry::Registry;
use store::{DeliveryStore, Env, EventStore, StreamId};

use super::delivery_state::DeliveryState;
use crate::command::{CommandContext, CommandError, WebhookCommands};
use crate::query::{QueryError, UserQueries, WebhookQueries};

/// The roles whose holders may own webhooks.
pub(crate) const OWNER_ROLES: &[Role] = domain::WEBHOOK_OWNER_ROLES;

/// Whether a user may own webhooks and be sent events.
pub(crate) fn may_own(user: &UserRow) -> bool {
    user.is_active && OWNER_ROLES.iter().any(|role| user.roles.contains(role))
}

/// What the delivery workers share. Cheap to clone.
#[derive(Clone)]
pub struct DeliveryContext {
    pub(super) store: EventStore,
    pub(super) commands: WebhookCommands,
    pub(super) users: UserQueries,
    pub(super) rows: WebhookQueries,
    pub(super) deliveries: Arc<dyn DeliveryStore>,
    pub(super) env: Env,
    pub(super) metrics: DeliveryMetrics,
}

/// Metrics of the deliveries of this node.
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

    /// Sets the number of webhooks in each state. A node that does not deliver has none.
    pub(super) fn set_webhooks(&self, states: &[DeliveryState]) {
        for state in DeliveryState::ALL {
            let count = states.iter().filter(|other| **other == state).count();
            let gauge = self.webhooks.get_or_create(&[("state", state.as_str())]);
            gauge.set(i64::try_from(count).unwrap_or(i64::MAX));
        }
    }

    pub(crate) fn register(&self, registry: &mut Registry) {
        for outcome in ["delivered", "failed"] {
            drop(self.attempts.get_or_create(&[("outcome", outcome)]));
        }
        let attempts = "Delivery attempts of this node";
        registry.register("aegis_webhook_attempts", attempts, self.attempts.clone());
        let webhooks = "Webhooks of the node that delivers, by state";
        registry.register("aegis_webhooks", webhooks, self.webhooks.clone());
    }
}

impl DeliveryContext {
    #[must_use]
    pub fn new(
        store: EventStore,
        commands: WebhookCommands,
        users: UserQueries,
        rows: WebhookQueries,
        deliveries: Arc<dyn DeliveryStore>,
        env: Env,
    ) -> Self {
        Self { store, commands, users, rows, deliveries, env, metrics: DeliveryMetrics::default() }
    }

    pub(crate) fn metrics(&self) -> &DeliveryMetrics {
        &self.metrics
    }

    /// Whether a webhook owner may be sent events; `None` if the user does not exist or was erased.
    pub(super) async fn may_own(&self, owner: UserId) -> Result<Option<bool>, QueryError> {
        Ok(self.users.by_id(owner).await?.as_deref().map(may_own))
    }

    /// Deletes the webhook if its owner was erased. A missing row is not enough, because deletion cannot be
    /// undone: the log has to contain the erasure.
    pub(super) async fn delete_if_orphaned(
        &self,
        owner: UserId,
        id: WebhookId,
    ) -> Result<bool, CommandError> {
        if self.users.by_id(owner).await.map_or(true, |row| row.is_some()) {
            return Ok(false);
        }
        let events = self.store.read_stream(&StreamId::from_trusted(owner.stream())?).await?;
        let erased = events
            .last()
            .is_some_and(|last| event_codec::decode_user_event(last).is_ok_and(|event| event.erases()));
        if erased {
            self.commands.execute(&self.command_context(), id, &WebhookCommand::Delete).await?;
            tracing::info!(webhook = %id, "webhook deleted: its owner was erased");
        }
        Ok(erased)
    }

    /// The context of commands that the delivery workers execute on their own.
    pub(super) fn command_context(&self) -> CommandContext {
        CommandContext::new("system", format!("webhook-{}", self.env.uuid().hyphenated()))
    }
}

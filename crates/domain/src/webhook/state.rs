//! The state of a webhook.

use super::{BatchSize, SuspensionReason};
use crate::value::{Erasable, Moment, Reason, UserId, WebhookSecret, WebhookUrl};

/// The folded events of a webhook.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Webhook {
    /// No webhook was registered under this id.
    #[default]
    Absent,
    /// A registered webhook.
    Present(Box<ActiveWebhook>),
    /// A deleted webhook.
    Deleted {
        /// Its owner.
        owner: UserId,
    },
}

/// A webhook that was registered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ActiveWebhook {
    /// Its owner.
    pub owner: UserId,
    /// The URL of deliveries.
    pub url: Erasable<WebhookUrl>,
    /// The secret that signs deliveries.
    pub secret: Erasable<WebhookSecret>,
    /// The previous secret, and the time until which it also signs deliveries.
    pub previous_secret: Option<(Erasable<WebhookSecret>, Moment)>,
    /// The event types to deliver; all if empty.
    pub types: Vec<String>,
    /// A description by the owner.
    pub description: Option<Erasable<Reason>>,
    /// The position after which delivery begins.
    pub after: u64,
    /// The largest number of events in one delivery; `None`: each event is delivered by itself.
    pub batch: Option<BatchSize>,
    /// Why it is suspended, if it is.
    pub suspended: Option<SuspensionReason>,
    /// Number of times it was resumed.
    pub resumed: u64,
    /// The requested replays, in order of request.
    pub replays: Vec<Replay>,
    /// How many of them, from the first, were requested before they were cancelled.
    pub cancelled_replays: usize,
}

/// A range of events to deliver again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Replay {
    /// The first position.
    pub from: u64,
    /// The last position.
    pub to: u64,
}

/// How many replays of a webhook may be queued.
pub const MAX_QUEUED_REPLAYS: usize = 10;

impl ActiveWebhook {
    /// How many replays are neither cancelled nor among the `completed` first ones.
    #[must_use]
    pub fn queued_replays(&self, completed: usize) -> usize {
        self.replays.len().saturating_sub(completed.max(self.cancelled_replays))
    }

    /// Whether events of this type are delivered.
    #[must_use]
    pub fn matches_type(&self, event_type: &str) -> bool {
        self.types.is_empty() || self.types.iter().any(|wanted| wanted == event_type)
    }

    /// The secrets that sign a delivery at `now`, the newest first.
    #[must_use]
    pub fn secrets(&self, now: Moment) -> Vec<&WebhookSecret> {
        let previous = self.previous_secret.as_ref().filter(|(_, until)| now < *until);
        let secrets = [Some(&self.secret), previous.map(|(secret, _)| secret)];
        secrets.into_iter().flatten().filter_map(Erasable::known).collect()
    }
}

//! The state of a webhook.

use super::SuspensionReason;
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
    /// Where events are sent.
    pub url: Erasable<WebhookUrl>,
    /// What deliveries are signed with.
    pub secret: Erasable<WebhookSecret>,
    /// The secret before, and until when deliveries are signed with it too.
    pub previous_secret: Option<(Erasable<WebhookSecret>, Moment)>,
    /// The types of events that are sent; all if it is empty.
    pub types: Vec<String>,
    /// What it is for.
    pub description: Option<Erasable<Reason>>,
    /// The position after which it begins.
    pub after: u64,
    /// Why it is suspended, if it is.
    pub suspended: Option<SuspensionReason>,
    /// How often it was resumed.
    pub resumed: u64,
    /// The requested replays, in order of request.
    pub replays: Vec<Replay>,
}

/// A range of events to deliver again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Replay {
    /// The first position.
    pub from: u64,
    /// The last position.
    pub to: u64,
}

impl ActiveWebhook {
    /// Whether events of that type are sent.
    #[must_use]
    pub fn matches_type(&self, event_type: &str) -> bool {
        self.types.is_empty() || self.types.iter().any(|wanted| wanted == event_type)
    }

    /// What a delivery of that moment is signed with, the newest first.
    #[must_use]
    pub fn secrets(&self, now: Moment) -> Vec<&WebhookSecret> {
        let previous = self.previous_secret.as_ref().filter(|(_, until)| now < *until);
        let secrets = [Some(&self.secret), previous.map(|(secret, _)| secret)];
        secrets.into_iter().flatten().filter_map(Erasable::known).collect()
    }
}

//! What is known of a webhook once its events are folded.

use super::SuspensionReason;
use crate::value::{Erasable, Moment, Reason, UserId, WebhookSecret, WebhookUrl};

/// A webhook as its events leave it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Webhook {
    /// Nothing was registered under this id.
    #[default]
    Absent,
    /// Something was.
    Present(Box<ActiveWebhook>),
    /// Something had been, and is no longer.
    Deleted {
        /// Whose it was.
        owner: UserId,
    },
}

/// A webhook that was registered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ActiveWebhook {
    /// Whose it is.
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
    /// Why nothing is sent, if nothing is.
    pub suspended: Option<SuspensionReason>,
    /// How often it was resumed.
    pub resumed: u64,
    /// What was asked for once more, in the order of asking.
    pub replays: Vec<Replay>,
}

/// Events that are to be sent once more.
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

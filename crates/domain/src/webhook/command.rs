//! Commands on a webhook.

use super::{BatchSize, SuspensionReason, WebhookSlot};
use crate::value::{Moment, Reason, UserId, WebhookSecret, WebhookUrl};

/// A command with parsed values. The caller is already authorised.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum WebhookCommand {
    /// Register a webhook.
    Register {
        /// The user who registers it.
        owner: UserId,
        /// The URL of deliveries.
        url: WebhookUrl,
        /// The secret that signs deliveries.
        secret: WebhookSecret,
        /// The event types to deliver; all if empty.
        types: Vec<String>,
        /// A description by the owner.
        description: Option<Reason>,
        /// The position after which delivery begins.
        after: u64,
        /// The largest number of events in one delivery; `None`: each event is delivered by itself.
        batch: Option<BatchSize>,
        /// The slot of the owner that it takes; `None` if the owner has no free one.
        slot: Option<WebhookSlot>,
    },
    /// Replace the secret.
    RotateSecret {
        /// The new secret.
        secret: WebhookSecret,
        /// The time until which the current secret stays valid.
        previous_until: Moment,
    },
    /// Suspend delivery until it is resumed.
    Suspend {
        /// The reason.
        reason: SuspensionReason,
        /// The position up to which everything was delivered.
        position: u64,
        /// How often the webhook had been resumed when this was decided: a later resume overrules it.
        resumed: u64,
    },
    /// Resume delivery immediately.
    Resume {
        /// Whether delivery is held up although it is not suspended: by the delay before a retry, or by a cursor
        /// beyond the end of a restored log.
        is_stalled: bool,
    },
    /// Deliver a range of events again.
    Replay {
        /// The first position.
        from: u64,
        /// The last position.
        to: u64,
        /// How many of the requested replays are known to be complete.
        completed: usize,
    },
    /// Cancel the replays that are not complete.
    CancelReplays {
        /// How many of the requested replays are known to be complete.
        completed: usize,
    },
    /// Delete the webhook permanently.
    Delete,
}

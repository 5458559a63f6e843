//! The events of a webhook.

use super::{BatchSize, WebhookSlot};
use crate::value::{Erasable, Moment, Reason, UserId, WebhookSecret, WebhookUrl};

/// An event of one webhook. URL and secret are encrypted, since both allow impersonation of the other side.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum WebhookEvent {
    /// A user registered a webhook.
    WebhookRegistered {
        /// The user, whose role decides whether events are delivered.
        owner: UserId,
        /// The URL of deliveries.
        url: Erasable<WebhookUrl>,
        /// The secret that signs deliveries.
        secret: Erasable<WebhookSecret>,
        /// The event types to deliver; all if empty.
        types: Vec<String>,
        /// A description by the owner.
        description: Option<Erasable<Reason>>,
        /// The position after which delivery begins.
        after: u64,
        /// The largest number of events in one delivery; `None`: each event is delivered by itself.
        batch: Option<BatchSize>,
        /// The slot of the owner that it holds. Webhooks of early releases have none.
        slot: Option<WebhookSlot>,
    },
    /// The secret was rotated. Deliveries are also signed with the previous secret for a while.
    WebhookSecretRotated {
        /// The new secret.
        secret: Erasable<WebhookSecret>,
        /// The time until which the previous secret is valid.
        previous_until: Moment,
    },
    /// Delivery was suspended until it is resumed.
    WebhookSuspended {
        /// The reason.
        reason: SuspensionReason,
        /// The position up to which everything was delivered.
        position: u64,
    },
    /// Delivery was resumed and is attempted immediately.
    WebhookResumed,
    /// A range of events is to be delivered again.
    WebhookReplayRequested {
        /// The first position.
        from: u64,
        /// The last position.
        to: u64,
    },
    /// The replays requested so far are not continued.
    WebhookReplaysCancelled,
    /// The webhook was deleted. Its URL and secrets are erased in the commit of this event, the last of the
    /// stream.
    WebhookDeleted,
}

/// Why delivery was suspended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum SuspensionReason {
    /// All attempts of the retry policy to deliver one event failed.
    Failing,
    /// The receiver answered 410 Gone.
    Gone,
    /// The owner is no longer allowed to read events.
    Owner,
}

impl SuspensionReason {
    /// Every reason.
    pub const ALL: [SuspensionReason; 3] =
        [SuspensionReason::Failing, SuspensionReason::Gone, SuspensionReason::Owner];

    /// The name in events and in the API.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            SuspensionReason::Failing => "failing",
            SuspensionReason::Gone => "gone",
            SuspensionReason::Owner => "owner",
        }
    }

    /// Parses the name of a reason.
    #[must_use]
    pub fn named(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|reason| reason.as_str() == name)
    }
}

impl WebhookEvent {
    /// The type of the first event of a webhook.
    pub const REGISTERED: &'static str = "WebhookRegistered";
    pub(super) const SECRET_ROTATED: &'static str = "WebhookSecretRotated";
    pub(super) const SUSPENDED: &'static str = "WebhookSuspended";
    pub(super) const RESUMED: &'static str = "WebhookResumed";
    pub(super) const REPLAY_REQUESTED: &'static str = "WebhookReplayRequested";
    pub(super) const REPLAYS_CANCELLED: &'static str = "WebhookReplaysCancelled";
    pub(crate) const DELETED: &'static str = "WebhookDeleted";

    /// All event types of a webhook.
    pub const TYPES: &'static [&'static str] = &[
        Self::REGISTERED,
        Self::SECRET_ROTATED,
        Self::SUSPENDED,
        Self::RESUMED,
        Self::REPLAY_REQUESTED,
        Self::REPLAYS_CANCELLED,
        Self::DELETED,
    ];

    /// The stored event type, one of [`TYPES`](WebhookEvent::TYPES).
    #[must_use]
    pub const fn event_type(&self) -> &'static str {
        match self {
            Self::WebhookRegistered { .. } => Self::REGISTERED,
            Self::WebhookSecretRotated { .. } => Self::SECRET_ROTATED,
            Self::WebhookSuspended { .. } => Self::SUSPENDED,
            Self::WebhookResumed => Self::RESUMED,
            Self::WebhookReplayRequested { .. } => Self::REPLAY_REQUESTED,
            Self::WebhookReplaysCancelled => Self::REPLAYS_CANCELLED,
            Self::WebhookDeleted => Self::DELETED,
        }
    }

    /// The unique claim that this event takes: the slot of the owner.
    #[must_use]
    pub fn claim_taken(&self) -> Option<String> {
        match self {
            Self::WebhookRegistered { owner, slot, .. } => slot.map(|slot| slot.claim(*owner)),
            Self::WebhookSecretRotated { .. }
            | Self::WebhookSuspended { .. }
            | Self::WebhookResumed
            | Self::WebhookReplayRequested { .. }
            | Self::WebhookReplaysCancelled
            | Self::WebhookDeleted => None,
        }
    }

    /// Whether the commit of this event erases the webhook's stream (crypto-shredding).
    #[must_use]
    pub const fn erases(&self) -> bool {
        match self {
            Self::WebhookDeleted => true,
            Self::WebhookRegistered { .. }
            | Self::WebhookSecretRotated { .. }
            | Self::WebhookSuspended { .. }
            | Self::WebhookResumed
            | Self::WebhookReplayRequested { .. }
            | Self::WebhookReplaysCancelled => false,
        }
    }
}

//! What has happened to a webhook.

use crate::value::{Erasable, Moment, Reason, UserId, WebhookSecret, WebhookUrl};

/// An event of one webhook. URL and secret are encrypted, since both let their holder pose as
/// the other side.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum WebhookEvent {
    /// A user registered a webhook.
    WebhookRegistered {
        /// Who. Their rights decide whether anything is sent.
        owner: UserId,
        /// Where to.
        url: Erasable<WebhookUrl>,
        /// What deliveries are signed with.
        secret: Erasable<WebhookSecret>,
        /// The types of events that are sent; all if it is empty.
        types: Vec<String>,
        /// What it is for, in the owner's words.
        description: Option<Erasable<Reason>>,
        /// The position after which it begins.
        after: u64,
    },
    /// Deliveries are signed with another secret, and for a while with the one before as well.
    WebhookSecretRotated {
        /// The new one.
        secret: Erasable<WebhookSecret>,
        /// Until when the one before is valid too.
        previous_until: Moment,
    },
    /// Delivery is suspended until it is resumed.
    WebhookSuspended {
        /// Why.
        reason: SuspensionReason,
        /// The position up to which everything was delivered.
        position: u64,
    },
    /// Deliveries are tried again at once.
    WebhookResumed,
    /// Events are sent once more.
    WebhookReplayRequested {
        /// The first position.
        from: u64,
        /// The last position.
        to: u64,
    },
    /// Nothing is ever sent again. The address and the secrets are destroyed with this event, the last of the
    /// stream.
    WebhookDeleted,
}

/// Why nothing is sent any more.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum SuspensionReason {
    /// One event could not be delivered for as long as it is tried.
    Failing,
    /// The receiver answered 410 Gone.
    Gone,
    /// The owner may no longer read events.
    Owner,
}

impl SuspensionReason {
    /// Every reason there is.
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

    /// The reason of that name.
    #[must_use]
    pub fn named(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|reason| reason.as_str() == name)
    }
}

impl WebhookEvent {
    /// The name of the event by which a webhook begins.
    pub const REGISTERED: &'static str = "WebhookRegistered";
    pub(super) const SECRET_ROTATED: &'static str = "WebhookSecretRotated";
    pub(super) const SUSPENDED: &'static str = "WebhookSuspended";
    pub(super) const RESUMED: &'static str = "WebhookResumed";
    pub(super) const REPLAY_REQUESTED: &'static str = "WebhookReplayRequested";
    pub(super) const DELETED: &'static str = "WebhookDeleted";

    /// The names of all events of a webhook.
    pub const TYPES: &'static [&'static str] = &[
        Self::REGISTERED,
        Self::SECRET_ROTATED,
        Self::SUSPENDED,
        Self::RESUMED,
        Self::REPLAY_REQUESTED,
        Self::DELETED,
    ];

    /// The name this event has in the log, one of [`TYPES`](WebhookEvent::TYPES).
    #[must_use]
    pub const fn event_type(&self) -> &'static str {
        match self {
            Self::WebhookRegistered { .. } => Self::REGISTERED,
            Self::WebhookSecretRotated { .. } => Self::SECRET_ROTATED,
            Self::WebhookSuspended { .. } => Self::SUSPENDED,
            Self::WebhookResumed => Self::RESUMED,
            Self::WebhookReplayRequested { .. } => Self::REPLAY_REQUESTED,
            Self::WebhookDeleted => Self::DELETED,
        }
    }

    /// Whether all that is sealed in the webhook's stream is destroyed in the commit of this event.
    #[must_use]
    pub const fn erases(&self) -> bool {
        match self {
            Self::WebhookDeleted => true,
            Self::WebhookRegistered { .. }
            | Self::WebhookSecretRotated { .. }
            | Self::WebhookSuspended { .. }
            | Self::WebhookResumed
            | Self::WebhookReplayRequested { .. } => false,
        }
    }
}

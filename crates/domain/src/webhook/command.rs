//! Commands on a webhook.

use super::SuspensionReason;
use crate::value::{Moment, Reason, UserId, WebhookSecret, WebhookUrl};

/// A command, not yet decided.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum WebhookCommand {
    /// Send events to that address from now on.
    Register {
        /// Who asks.
        owner: UserId,
        /// Where to.
        url: WebhookUrl,
        /// What to sign with.
        secret: WebhookSecret,
        /// The types of events; all if it is empty.
        types: Vec<String>,
        /// What it is for.
        description: Option<Reason>,
        /// The position after which to begin.
        after: u64,
    },
    /// Sign with another secret.
    RotateSecret {
        /// The new one.
        secret: WebhookSecret,
        /// Until when the present one is valid too.
        previous_until: Moment,
    },
    /// Suspend delivery until it is resumed.
    Suspend {
        /// Why.
        reason: SuspensionReason,
        /// The position up to which everything was delivered.
        position: u64,
    },
    /// Try again at once.
    Resume,
    /// Send events once more.
    Replay {
        /// The first position.
        from: u64,
        /// The last position.
        to: u64,
    },
    /// Never send anything again.
    Delete,
}

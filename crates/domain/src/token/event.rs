//! The events of a machine token.

use std::collections::BTreeSet;

use crate::value::{Erasable, Moment, Role, TokenName, TokenSecretHash};

/// An event of one machine token. The hash of its secret is encrypted, and disclosed to no reader of events.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum TokenEvent {
    /// An administrator issued a token.
    TokenIssued {
        /// What it is for.
        name: TokenName,
        /// The roles that its bearer holds.
        roles: BTreeSet<Role>,
        /// The time from which it is void; `None` if it does not expire.
        expires_at: Option<Moment>,
        /// The hash of its secret.
        secret_hash: Erasable<TokenSecretHash>,
    },
    /// The token was used, for the first time on that day.
    TokenUsed,
    /// The token was revoked. It is void from this event on.
    TokenRevoked,
}

impl TokenEvent {
    /// The type of the first event of a token.
    pub const ISSUED: &'static str = "TokenIssued";
    /// The type of the event of a use.
    pub const USED: &'static str = "TokenUsed";
    pub(super) const REVOKED: &'static str = "TokenRevoked";

    /// All event types of a machine token.
    pub const TYPES: &'static [&'static str] = &[Self::ISSUED, Self::USED, Self::REVOKED];

    /// The stored event type, one of [`TYPES`](TokenEvent::TYPES).
    #[must_use]
    pub const fn event_type(&self) -> &'static str {
        match self {
            Self::TokenIssued { .. } => Self::ISSUED,
            Self::TokenUsed => Self::USED,
            Self::TokenRevoked => Self::REVOKED,
        }
    }
}

//! The state of a machine token.

use std::collections::BTreeSet;

use super::TokenEvent;
use crate::value::{Erasable, Moment, Role, TokenName, TokenSecretHash};

/// The folded events of a machine token.
#[derive(Clone, Debug, Default)]
pub enum Token {
    /// No token was issued under this id.
    #[default]
    Absent,
    /// A token that is not revoked; it may have expired.
    Active(ActiveToken),
    /// A revoked token.
    Revoked(ActiveToken),
}

/// What a token was issued with.
#[derive(Clone, Debug)]
pub struct ActiveToken {
    /// What it is for.
    pub name: TokenName,
    /// The roles that its bearer holds.
    pub roles: BTreeSet<Role>,
    /// The time from which it is void; `None` if it does not expire.
    pub expires_at: Option<Moment>,
    /// The hash of its secret.
    pub secret_hash: Erasable<TokenSecretHash>,
}

impl Token {
    /// What it was issued with, also if it is revoked.
    #[must_use]
    pub fn issued(&self) -> Option<&ActiveToken> {
        match self {
            Self::Absent => None,
            Self::Active(issued) | Self::Revoked(issued) => Some(issued),
        }
    }

    /// What it was issued with, if it is neither revoked nor expired at `now`.
    #[must_use]
    pub fn valid_at(&self, now: Moment) -> Option<&ActiveToken> {
        match self {
            Self::Active(issued) if issued.expires_at.is_none_or(|end| now < end) => Some(issued),
            Self::Absent | Self::Active(_) | Self::Revoked(_) => None,
        }
    }
}

/// Applies one event. Total: an event that does not fit the state changes nothing.
#[must_use]
pub fn evolve(token: Token, event: &TokenEvent) -> Token {
    match (token, event) {
        (Token::Absent, TokenEvent::TokenIssued { name, roles, expires_at, secret_hash }) => {
            Token::Active(ActiveToken {
                name: name.clone(),
                roles: roles.clone(),
                expires_at: *expires_at,
                secret_hash: secret_hash.clone(),
            })
        }
        (Token::Active(issued), TokenEvent::TokenRevoked) => Token::Revoked(issued),
        (token, TokenEvent::TokenIssued { .. } | TokenEvent::TokenUsed | TokenEvent::TokenRevoked) => token,
    }
}

//! Decides a command against the state of a machine token.

use std::collections::BTreeSet;

use super::{Token, TokenEvent};
use crate::value::{Erasable, Moment, Role, TokenName, TokenSecretHash};

/// A command with parsed values. The caller is already authorised.
#[derive(Clone, Debug)]
pub enum TokenCommand {
    /// Issue a token.
    Issue {
        /// What it is for.
        name: TokenName,
        /// The roles that its bearer holds.
        roles: BTreeSet<Role>,
        /// The time from which it is void; `None` if it does not expire.
        expires_at: Option<Moment>,
        /// The hash of its secret.
        secret_hash: TokenSecretHash,
    },
    /// Record a use.
    RecordUse {
        /// Whether a use was recorded on this day.
        is_recorded: bool,
    },
    /// Revoke the token.
    Revoke,
}

/// Why a command is rejected.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TokenRejection {
    /// The id is in use.
    #[error("a token is already issued under this id")]
    AlreadyIssued,
    /// No token was issued under this id.
    #[error("no token is issued under this id")]
    Unknown,
}

/// Decides `command` against the current state. No event: nothing would change.
///
/// # Errors
/// [`TokenRejection`] if the state does not allow the command.
pub fn decide(token: &Token, command: TokenCommand) -> Result<Option<TokenEvent>, TokenRejection> {
    match (token, command) {
        (Token::Absent, TokenCommand::Issue { name, roles, expires_at, secret_hash }) => {
            let secret_hash = Erasable::Known(secret_hash);
            Ok(Some(TokenEvent::TokenIssued { name, roles, expires_at, secret_hash }))
        }
        (Token::Active(_) | Token::Revoked(_), TokenCommand::Issue { .. }) => {
            Err(TokenRejection::AlreadyIssued)
        }
        (Token::Absent, TokenCommand::RecordUse { .. } | TokenCommand::Revoke) => {
            Err(TokenRejection::Unknown)
        }
        (Token::Active(_), TokenCommand::RecordUse { is_recorded: false }) => Ok(Some(TokenEvent::TokenUsed)),
        (Token::Active(_), TokenCommand::Revoke) => Ok(Some(TokenEvent::TokenRevoked)),
        (Token::Active(_), TokenCommand::RecordUse { is_recorded: true })
        | (Token::Revoked(_), TokenCommand::RecordUse { .. } | TokenCommand::Revoke) => Ok(None),
    }
}

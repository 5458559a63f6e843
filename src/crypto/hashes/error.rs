//! Why a stored hash is refused, or a password is not hashed.

use std::fmt;

/// Why a text is not accepted as a stored password hash. It contains nothing of the hash but its costs.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum UnsupportedHash {
    #[error("the password hash is of no supported form")]
    UnknownForm,
    #[error("the {part} of the {algorithm} hash is malformed")]
    Malformed { algorithm: &'static str, part: &'static str },
    /// One login with it would take too much time or memory.
    #[error("{cost} {found} is above the limit of {limit}")]
    TooCostly { cost: &'static str, found: u64, limit: u64 },
    #[error("the password hash is longer than {max} bytes")]
    TooLong { max: usize },
}

impl UnsupportedHash {
    pub(super) fn check_cost(cost: &'static str, found: u64, limit: u64) -> Result<(), Self> {
        if found > limit { Err(Self::TooCostly { cost, found, limit }) } else { Ok(()) }
    }
}

/// A password that cannot be hashed or verified.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PasswordHashError {
    #[error(transparent)]
    Unsupported(#[from] UnsupportedHash),
    #[error("password hash not computed: {0}")]
    NotComputed(String),
    #[error("password-hashing thread not started: {0}")]
    ThreadNotStarted(String),
}

impl PasswordHashError {
    pub(super) fn not_computed(error: &impl fmt::Display) -> Self {
        Self::NotComputed(error.to_string())
    }

    pub(in crate::crypto) fn thread_not_started(error: &std::io::Error) -> Self {
        Self::ThreadNotStarted(error.to_string())
    }
}

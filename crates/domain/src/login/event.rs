//! The events of a user's logins.

use std::net::IpAddr;
use std::str::FromStr;

use crate::value::{Erasable, UserAgent};

/// An event of the logins of one user. Time and actor are in the envelope.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum LoginEvent {
    /// The user logged in.
    LoginSucceeded {
        /// How many attempts failed before, since the last success or the end of the last spell; those refused by
        /// a limit included, as far as the node that records it has seen them.
        failures: u64,
        /// Where from.
        client: LoginClient,
    },
    /// A spell of failures began or, with a count, ended.
    LoginFailed {
        /// Why the first attempt failed or, with a count, the last one.
        reason: LoginFailure,
        /// The spell has ended after this many failures, those refused by a limit included.
        count: Option<u64>,
        /// Where that attempt came from.
        client: LoginClient,
    },
}

impl LoginEvent {
    /// The stored event type of [`LoginSucceeded`](LoginEvent::LoginSucceeded), which read models count.
    pub const SUCCEEDED: &'static str = "LoginSucceeded";
    pub(crate) const FAILED: &'static str = "LoginFailed";

    /// All event types of logins.
    pub const TYPES: &'static [&'static str] = &[Self::SUCCEEDED, Self::FAILED];

    /// The stored event type, one of [`TYPES`](LoginEvent::TYPES).
    #[must_use]
    pub const fn event_type(&self) -> &'static str {
        match self {
            Self::LoginSucceeded { .. } => Self::SUCCEEDED,
            Self::LoginFailed { .. } => Self::FAILED,
        }
    }
}

/// Where a login came from. Personal data of the user.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct LoginClient {
    /// The address, if it is known.
    pub address: Option<Erasable<IpAddr>>,
    /// What the client calls itself, if it does.
    pub user_agent: Option<Erasable<UserAgent>>,
}

/// Why a login failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LoginFailure {
    /// The password was wrong.
    WrongPassword,
    /// The password was right, and the user is deactivated.
    InactiveUser,
}

/// A text that names no reason of a failed login.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("not a reason of a failed login")]
pub struct UnknownLoginFailure;

impl LoginFailure {
    /// The name in events and answers.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::WrongPassword => "wrong_password",
            Self::InactiveUser => "inactive_user",
        }
    }
}

impl FromStr for LoginFailure {
    type Err = UnknownLoginFailure;

    fn from_str(text: &str) -> Result<Self, UnknownLoginFailure> {
        let known = [Self::WrongPassword, Self::InactiveUser];
        known.into_iter().find(|reason| reason.as_str() == text).ok_or(UnknownLoginFailure)
    }
}

//! The reason for the end of a session.

use std::fmt;
use std::str::FromStr;

/// Why a session ended before its time.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum RevocationReason {
    /// The user logged out.
    Logout,
    /// The user ended it from another session.
    Ended,
    /// A client revoked its token (RFC 7009).
    Revoked,
    /// A refresh token was presented that had been used up: it may have been stolen.
    Reuse,
}

/// The text is not the name of a reason.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "there is no reason `{0}` for the end of a session: the reasons are logout, ended, revoked and reuse"
)]
pub struct UnknownRevocationReason(pub String);

impl RevocationReason {
    /// Every reason.
    pub const ALL: [RevocationReason; 4] = [Self::Logout, Self::Ended, Self::Revoked, Self::Reuse];

    /// The name in events.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Logout => "logout",
            Self::Ended => "ended",
            Self::Revoked => "revoked",
            Self::Reuse => "reuse",
        }
    }
}

impl fmt::Display for RevocationReason {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.pad(self.as_str())
    }
}

impl FromStr for RevocationReason {
    type Err = UnknownRevocationReason;

    fn from_str(name: &str) -> Result<Self, UnknownRevocationReason> {
        let named = Self::ALL.into_iter().find(|reason| reason.as_str() == name);
        named.ok_or_else(|| UnknownRevocationReason(name.to_owned()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_known_reasons_parse() {
        for reason in RevocationReason::ALL {
            assert_eq!(reason.to_string().parse(), Ok(reason));
        }
        for name in ["Logout", "reuse ", ""] {
            assert_eq!(name.parse::<RevocationReason>(), Err(UnknownRevocationReason(name.to_owned())));
        }
    }
}

//! The reason for an erasure.

use std::fmt;
use std::str::FromStr;

/// Why personal data was erased (crypto-shredding). A code, not free text, since it stays readable after the
/// erasure.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum ErasureReason {
    /// The person requested it.
    Request,
    /// A policy of the deployment requires it, such as a retention time.
    Policy,
    /// Anything else.
    Other,
}

/// The text is not the name of an erasure reason.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("there is no reason `{0}` for an erasure: the reasons are request, policy and other")]
pub struct UnknownErasureReason(pub String);

impl ErasureReason {
    /// Every reason.
    pub const ALL: [ErasureReason; 3] = [ErasureReason::Request, ErasureReason::Policy, ErasureReason::Other];

    /// The name in events, in the API and on the command line.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            ErasureReason::Request => "request",
            ErasureReason::Policy => "policy",
            ErasureReason::Other => "other",
        }
    }
}

impl fmt::Display for ErasureReason {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.pad(self.as_str())
    }
}

impl FromStr for ErasureReason {
    type Err = UnknownErasureReason;

    fn from_str(name: &str) -> Result<Self, UnknownErasureReason> {
        let named = ErasureReason::ALL.into_iter().find(|reason| reason.as_str() == name);
        named.ok_or_else(|| UnknownErasureReason(name.to_owned()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_known_reasons_parse() {
        for reason in ErasureReason::ALL {
            assert_eq!(reason.to_string().parse(), Ok(reason));
        }
        for name in ["Request", "other ", "gdpr", ""] {
            assert_eq!(name.parse::<ErasureReason>(), Err(UnknownErasureReason(name.to_owned())));
        }
    }
}

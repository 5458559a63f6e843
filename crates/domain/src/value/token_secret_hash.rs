//! The stored form of the secret of a machine token.

use std::fmt;

use super::hex;

/// Length of a hash in octets.
const OCTETS: usize = 32;

/// A keyed hash of the secret of a machine token. `Debug` does not print it. What a bearer presents is compared with
/// [`expose`](TokenSecretHash::expose), in constant time.
#[derive(Clone, PartialEq, Eq)]
pub struct TokenSecretHash([u8; OCTETS]);

/// The stored text is not such a hash. The message does not contain it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the hash of a token's secret is 64 hex digits in the log")]
pub struct TokenSecretHashError;

impl TokenSecretHash {
    /// Creates the hash from its octets.
    #[must_use]
    pub const fn new(octets: [u8; OCTETS]) -> Self {
        Self(octets)
    }

    /// The octets, to be compared in constant time.
    #[must_use]
    pub const fn expose(&self) -> &[u8; OCTETS] {
        &self.0
    }

    /// The stored form, before encryption: hex digits.
    pub(crate) fn to_stored(&self) -> String {
        hex::encode(&self.0)
    }

    pub(crate) fn from_stored(text: &str) -> Result<Self, TokenSecretHashError> {
        hex::decode(text).map(Self).ok_or(TokenSecretHashError)
    }
}

impl fmt::Debug for TokenSecretHash {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("TokenSecretHash(…)")
    }
}

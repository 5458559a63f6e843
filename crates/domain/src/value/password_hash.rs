//! The password hash of a user. Hashing and verification do not belong in this crate.

use std::fmt;

/// Maximum length of a stored hash in bytes: more than any PHC string in use, and a bound for imported
/// hashes.
pub const MAX_PASSWORD_HASH_BYTES: usize = 1024;

/// An opaque password hash: a PHC string, or another format of an import.
///
/// It is a secret: it has no `Display` and no `Serialize`, its `Debug` does not print it, and its text is
/// accessible only by [`expose`](PasswordHash::expose), so that each use is visible in review.
#[derive(Clone, PartialEq, Eq)]
pub struct PasswordHash(String);

/// Why a text is not accepted as a password hash.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum InvalidPasswordHash {
    /// It is empty.
    #[error("a password hash cannot be empty")]
    Empty,
    /// It is longer than the maximum.
    #[error("a password hash has at most {max} bytes")]
    TooLong {
        /// Maximum number of bytes ([`MAX_PASSWORD_HASH_BYTES`]).
        max: usize,
    },
}

impl PasswordHash {
    /// Accepts a hash of a hash function or an import.
    ///
    /// # Errors
    /// [`InvalidPasswordHash`] if it is empty or longer than [`MAX_PASSWORD_HASH_BYTES`].
    pub fn new(hash: String) -> Result<Self, InvalidPasswordHash> {
        if hash.is_empty() {
            return Err(InvalidPasswordHash::Empty);
        }
        if hash.len() > MAX_PASSWORD_HASH_BYTES {
            return Err(InvalidPasswordHash::TooLong { max: MAX_PASSWORD_HASH_BYTES });
        }
        Ok(Self(hash))
    }

    /// A stored hash; it was validated when it was written.
    #[must_use]
    pub fn from_stored(hash: &str) -> Self {
        Self(hash.to_owned())
    }

    /// The hash itself, for verifying a password or encrypting it into an event.
    #[must_use]
    pub fn expose(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for PasswordHash {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("PasswordHash(hidden)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn debug_shows_nothing_of_the_hash() {
        let hash = PasswordHash::new("$argon2id$secret".to_owned()).unwrap();
        assert_eq!(format!("{hash:?}"), "PasswordHash(hidden)");
        assert_eq!(hash.expose(), "$argon2id$secret");
    }

    #[test]
    fn empty_and_overlong_hashes_are_rejected() {
        assert_eq!(PasswordHash::new(String::new()), Err(InvalidPasswordHash::Empty));
        assert!(PasswordHash::new("x".repeat(1024)).is_ok());
        assert_eq!(PasswordHash::new("x".repeat(1025)), Err(InvalidPasswordHash::TooLong { max: 1024 }));
    }
}

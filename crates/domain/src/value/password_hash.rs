//! What is stored instead of a password.

use std::fmt;

/// Most bytes a stored hash may have: room for every PHC string in use, and a bound for imported ones.
pub const MAX_PASSWORD_HASH_BYTES: usize = 1024;

/// A password hash, opaque here: a PHC string, or another kind that an import brought along.
///
/// It is a secret. It has no `Display` and no `Serialize`, its `Debug` shows nothing of it, and the only way
/// to its text is called [`expose`](PasswordHash::expose), so that each use stands out in review.
#[derive(Clone, PartialEq, Eq)]
pub struct PasswordHash(String);

/// Why a text cannot be a stored hash.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum InvalidPasswordHash {
    /// There is nothing to verify a password against.
    #[error("a password hash cannot be empty")]
    Empty,
    /// It is longer than any hash in use.
    #[error("a password hash has at most {max} bytes")]
    TooLong {
        /// Most bytes ([`MAX_PASSWORD_HASH_BYTES`]).
        max: usize,
    },
}

impl PasswordHash {
    /// Takes a hash as a hashing function, or an import, made it.
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

    /// A hash from an event or a row: validated when it was written, and not again.
    #[must_use]
    pub fn from_stored(hash: &str) -> Self {
        Self(hash.to_owned())
    }

    /// The hash itself, for the one who verifies a password against it or seals it into an event.
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

//! The master key (KEK) of the envelope encryption: wraps the data keys (DEKs) and the service keys. It is
//! never stored in the database.

use std::fmt;

use aws_lc_rs::digest::{SHA256, digest};
use base64::prelude::{BASE64_STANDARD, BASE64_STANDARD_NO_PAD, BASE64_URL_SAFE_NO_PAD, Engine};
use zeroize::{Zeroize, ZeroizeOnDrop, Zeroizing};

use super::{DecryptError, open, seal};
use crate::env::Env;

/// Size of a wrapped key in bytes: key id, nonce, ciphertext and tag.
pub const WRAPPED_BYTES: usize = 8 + 12 + 32 + 16;

/// Identifies a master key without disclosing it: the first 8 bytes of a hash of the key.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct KeyId([u8; 8]);

impl KeyId {
    /// Creates the id from its bytes.
    #[must_use]
    pub fn from_bytes(bytes: [u8; 8]) -> Self {
        Self(bytes)
    }

    /// The bytes with which every key wrapped by this master key begins.
    #[must_use]
    pub fn as_bytes(&self) -> &[u8; 8] {
        &self.0
    }
}

impl fmt::Display for KeyId {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(out, "{byte:02x}"))
    }
}

impl fmt::Debug for KeyId {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, out)
    }
}

/// A master key (KEK): 32 random bytes.
#[derive(Clone, Zeroize, ZeroizeOnDrop)]
pub struct MasterKey([u8; 32]);

impl MasterKey {
    /// Generates a random key.
    #[must_use]
    pub fn generate(env: &Env) -> Self {
        Self(env.bytes())
    }

    /// Parses the form used in settings: 32 bytes in base64, standard or URL-safe, padded or not.
    ///
    /// # Errors
    /// [`InvalidMasterKey`] if the text is not base64 or not 32 bytes.
    pub fn from_base64(text: &str) -> Result<Self, InvalidMasterKey> {
        let text = text.trim().trim_end_matches('=');
        let bytes = BASE64_STANDARD_NO_PAD
            .decode(text)
            .or_else(|_| BASE64_URL_SAFE_NO_PAD.decode(text))
            .map_err(|_| InvalidMasterKey)?;
        bytes.try_into().map(Self).map_err(|_| InvalidMasterKey)
    }

    /// Formats the key as in settings. The result is secret.
    #[must_use]
    pub fn to_base64(&self) -> String {
        BASE64_STANDARD.encode(self.0)
    }

    /// The id of the key, safe to print.
    #[must_use]
    pub fn id(&self) -> KeyId {
        let hash = digest(&SHA256, &[b"aegis master key id\n".as_slice(), &self.0].concat());
        let mut id = [0; 8];
        for (to, from) in id.iter_mut().zip(hash.as_ref()) {
            *to = *from;
        }
        KeyId(id)
    }

    /// Wraps a key for storage: `key id ‖ nonce ‖ ciphertext ‖ tag`, bound to the name of its owner.
    ///
    /// # Errors
    /// [`DecryptError`] by the signature of the cipher; it does not occur with a 32-byte key.
    pub fn wrap(&self, owner: &str, key: &[u8], env: &Env) -> Result<Vec<u8>, DecryptError> {
        Ok([self.id().0.as_slice(), &seal(&self.0, owner.as_bytes(), key, env)?].concat())
    }

    /// Unwraps a key that [`MasterKey::wrap`] wrapped for the same owner.
    ///
    /// # Errors
    /// [`DecryptError`] if it was wrapped by another master key or for another owner, or was changed.
    pub fn unwrap(&self, owner: &str, wrapped: &[u8]) -> Result<[u8; 32], DecryptError> {
        let (id, sealed) = Self::split(wrapped).ok_or(DecryptError)?;
        if id == self.id() { self.open_sealed(owner, sealed) } else { Err(DecryptError) }
    }

    /// Decrypts the part of a wrapped key after the key id.
    pub(super) fn open_sealed(&self, owner: &str, sealed: &[u8]) -> Result<[u8; 32], DecryptError> {
        self.open_bytes(owner, sealed)?.as_slice().try_into().map_err(|_| DecryptError)
    }

    /// As [`MasterKey::open_sealed`], for a key of any length.
    pub(super) fn open_bytes(&self, owner: &str, sealed: &[u8]) -> Result<Zeroizing<Vec<u8>>, DecryptError> {
        open(&self.0, owner.as_bytes(), sealed).map(Zeroizing::new)
    }

    /// The id of the master key by which a key was wrapped.
    #[must_use]
    pub fn id_of(wrapped: &[u8]) -> Option<KeyId> {
        Self::split(wrapped).map(|(id, _)| id)
    }

    /// Splits a wrapped key into the id of its master key and the ciphertext.
    pub(super) fn split(wrapped: &[u8]) -> Option<(KeyId, &[u8])> {
        let (id, sealed) = wrapped.split_first_chunk::<8>()?;
        Some((KeyId(*id), sealed))
    }
}

/// The text is not a master key.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("is not 32 bytes in base64; generate one with `openssl rand -base64 32`")]
pub struct InvalidMasterKey;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn wrapped_key_is_bound_to_owner_and_master_key() {
        let env = Env::system();
        let master = MasterKey::generate(&env);
        let wrapped = master.wrap("user-1", &[7; 32], &env).unwrap();
        assert_eq!(master.unwrap("user-1", &wrapped), Ok([7; 32]));
        assert_eq!(master.unwrap("user-2", &wrapped), Err(DecryptError));
        assert_eq!(MasterKey::generate(&env).unwrap("user-1", &wrapped), Err(DecryptError));
        assert_eq!(MasterKey::id_of(&wrapped), Some(master.id()));
        assert_eq!(wrapped.len(), WRAPPED_BYTES);
    }

    #[test]
    fn master_key_accepts_both_base64_alphabets() {
        let master = MasterKey([0xfb; 32]);
        assert_eq!(MasterKey::from_base64(&master.to_base64()).map(|key| key.id()), Ok(master.id()));
        assert_eq!(
            MasterKey::from_base64(&BASE64_URL_SAFE_NO_PAD.encode([0xfb; 32])).map(|k| k.id()),
            Ok(master.id())
        );
        assert!(MasterKey::from_base64("too short").is_err());
        assert!(MasterKey::from_base64("").is_err());
    }
}

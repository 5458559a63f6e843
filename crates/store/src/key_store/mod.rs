//! The key store: envelope encryption of personal data. Every stream with personal data has its own random
//! data key (DEK), which is stored wrapped by the master key (KEK). Erasure is crypto-shredding: the data key
//! is destroyed and a tombstone stays, while the log remains complete. Storage belongs to the backends; the
//! rules for using an entry belong to [`commit_planner`](crate::commit_planner).

mod claim;
mod data_key;
mod entry;
mod keyring;
mod master_key;

pub use claim::{ClaimBackfill, ClaimHash, ClaimKey, ClaimReplacement};
pub use data_key::{DataKey, SealedContext};
pub use entry::{KeyEntry, StreamKeyEntry};
pub use keyring::{KeySource, Keyring, MasterKeys, UnwrapError};
pub use master_key::{InvalidMasterKey, KeyId, MasterKey, WRAPPED_BYTES};

use aws_lc_rs::aead::{AES_256_GCM, Aad, LessSafeKey, NONCE_LEN, Nonce, UnboundKey};

use crate::env::Env;

/// A ciphertext did not decrypt: it was encrypted with another key or context, or was changed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("cannot be decrypted with this key: it was encrypted with another key, or was changed")]
pub struct DecryptError;

/// AES-256-GCM (NIST SP 800-38D) with a random 96-bit nonce: `nonce ‖ ciphertext ‖ tag`. A data key encrypts
/// a few dozen events and a master key wraps a few million keys, far below the 2^32 messages that random
/// nonces allow.
fn seal(key: &[u8; 32], context: &[u8], plain: &[u8], env: &Env) -> Result<Vec<u8>, DecryptError> {
    let nonce: [u8; NONCE_LEN] = env.bytes();
    let mut body = plain.to_vec();
    cipher(key)?
        .seal_in_place_append_tag(Nonce::assume_unique_for_key(nonce), Aad::from(context), &mut body)
        .map_err(|_| DecryptError)?;
    Ok([nonce.as_slice(), &body].concat())
}

/// Decrypts the output of [`seal`].
fn open(key: &[u8; 32], context: &[u8], sealed: &[u8]) -> Result<Vec<u8>, DecryptError> {
    let (nonce, body) = sealed.split_first_chunk::<NONCE_LEN>().ok_or(DecryptError)?;
    let mut body = body.to_vec();
    let plain = cipher(key)?
        .open_in_place(Nonce::assume_unique_for_key(*nonce), Aad::from(context), &mut body)
        .map_err(|_| DecryptError)?;
    let length = plain.len();
    body.truncate(length);
    Ok(body)
}

fn cipher(key: &[u8; 32]) -> Result<LessSafeKey, DecryptError> {
    UnboundKey::new(&AES_256_GCM, key).map(LessSafeKey::new).map_err(|_| DecryptError)
}

//! The vault: every stream with personal data has a random key of its own; destroying that key forgets the person
//! while the log stays whole. Here are the keys and what is done with them; where they are kept is a backend's
//! business, and which of them may still be used is [`commit_planner`](crate::commit_planner)'s.

mod claim;
mod data_key;
mod entry;
mod keyring;
mod master_key;

pub use claim::{ClaimHash, ClaimKey};
pub use data_key::{DataKey, SealedContext};
pub use entry::{KeyEntry, StreamKeyEntry};
pub use keyring::{KeySource, Keyring, MasterKeys, UnwrapError};
pub use master_key::{InvalidMasterKey, KeyId, MasterKey, WRAPPED_BYTES};

use aws_lc_rs::aead::{AES_256_GCM, Aad, LessSafeKey, NONCE_LEN, Nonce, UnboundKey};

use crate::env::Env;

/// Bytes that could not be opened: the key is another one, or they were changed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("cannot be opened with this key: it was sealed with another one, or changed since")]
pub struct DecryptError;

/// AES-256-GCM (NIST SP 800-38D) with a random 96-bit nonce: `nonce ‖ ciphertext ‖ tag`. A stream key seals a few
/// dozen events and a master key a few million others, far below the 2^32 messages that random nonces allow.
fn seal(key: &[u8; 32], context: &[u8], plain: &[u8], env: &Env) -> Result<Vec<u8>, DecryptError> {
    let nonce: [u8; NONCE_LEN] = env.bytes();
    let mut body = plain.to_vec();
    cipher(key)?
        .seal_in_place_append_tag(Nonce::assume_unique_for_key(nonce), Aad::from(context), &mut body)
        .map_err(|_| DecryptError)?;
    Ok([nonce.as_slice(), &body].concat())
}

/// The reverse of [`seal`].
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

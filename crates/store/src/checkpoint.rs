//! Signed checkpoints: the tree head of the log as a C2SP checkpoint (c2sp.org/tlog-checkpoint) in a signed
//! note (c2sp.org/signed-note), which standard transparency-log tools can verify. Projection checkpoints are
//! in [`rows`](crate::rows).

mod verifier;

use aws_lc_rs::digest::{SHA256, digest};
use aws_lc_rs::signature::{Ed25519KeyPair, KeyPair};
use base64::prelude::{BASE64_STANDARD, Engine};
use uuid::Uuid;

use crate::merkle::Hash;

pub use verifier::{InvalidKey, SignatureError, SignedHead, VerifierKey};

/// The signature algorithm byte of Ed25519 in a signed note.
const ED25519: u8 = 1;

/// Signs the checkpoints of one log.
pub struct Signer {
    origin: String,
    key: Ed25519KeyPair,
    key_hash: [u8; 4],
}

impl Signer {
    /// Creates the signer of a log; `seed` is the Ed25519 private key (RFC 8032 §5.1.5).
    ///
    /// # Errors
    /// [`InvalidSeed`] if the seed is not a valid Ed25519 key.
    pub fn new(log_id: Uuid, seed: &[u8; 32]) -> Result<Self, InvalidSeed> {
        let key = Ed25519KeyPair::from_seed_unchecked(seed).map_err(|_| InvalidSeed)?;
        let origin = format!("aegis/{}", log_id.hyphenated());
        let key_hash = key_hash(&origin, key.public_key().as_ref());
        Ok(Self { origin, key, key_hash })
    }

    /// The name of the log in its checkpoints: `aegis/<log id>`.
    #[must_use]
    pub fn origin(&self) -> &str {
        &self.origin
    }

    /// The public key, 32 bytes.
    #[must_use]
    pub fn public_key(&self) -> &[u8] {
        self.key.public_key().as_ref()
    }

    /// The verifier key of the checkpoints, in the signed note format `<name>+<hash>+<key>`.
    #[must_use]
    pub fn verifier_key(&self) -> String {
        let hash = self.key_hash.iter().fold(String::new(), |text, byte| text + &format!("{byte:02x}"));
        let key = BASE64_STANDARD.encode([&[ED25519], self.public_key()].concat());
        format!("{}+{hash}+{key}", self.origin)
    }

    /// Signs the checkpoint of a log with this size and root.
    #[must_use]
    pub fn sign(&self, size: u64, root: &Hash) -> String {
        let body = format!("{}\n{size}\n{}\n", self.origin, BASE64_STANDARD.encode(root));
        let signature = self.key.sign(body.as_bytes());
        let stamp = BASE64_STANDARD.encode([self.key_hash.as_slice(), signature.as_ref()].concat());
        format!("{body}\n— {} {stamp}\n", self.origin)
    }
}

/// The key hash of a signed note: the first four bytes of a hash of name and key.
fn key_hash(origin: &str, public_key: &[u8]) -> [u8; 4] {
    let named = [origin.as_bytes(), &[b'\n', ED25519], public_key].concat();
    let mut hash = [0; 4];
    for (to, from) in hash.iter_mut().zip(digest(&SHA256, &named).as_ref()) {
        *to = *from;
    }
    hash
}

/// The stored signing key is malformed.
#[derive(Debug, thiserror::Error)]
#[error("the stored signing key is not an Ed25519 seed")]
pub struct InvalidSeed;

#[cfg(test)]
mod tests {
    use aws_lc_rs::signature::{ED25519 as VERIFY, UnparsedPublicKey};

    use super::*;

    #[test]
    fn checkpoint_follows_c2sp_format_and_verifies() {
        let signer = Signer::new(Uuid::nil(), &[7; 32]).unwrap();
        let note = signer.sign(42, &[9; 32]);
        let (body, signatures) = note.split_once("\n\n").unwrap();
        let body = format!("{body}\n");
        let lines: Vec<_> = body.lines().collect();
        assert_eq!(lines[..2], ["aegis/00000000-0000-0000-0000-000000000000", "42"]);
        assert_eq!(BASE64_STANDARD.decode(lines[2]).unwrap(), [9; 32]);

        let line = signatures.strip_suffix('\n').unwrap();
        let stamp = line.strip_prefix("— aegis/00000000-0000-0000-0000-000000000000 ").unwrap();
        let stamp = BASE64_STANDARD.decode(stamp).unwrap();
        assert_eq!(stamp.len(), 4 + 64);
        UnparsedPublicKey::new(&VERIFY, signer.public_key()).verify(body.as_bytes(), &stamp[4..]).unwrap();
    }
}

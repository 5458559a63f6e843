//! Verifies signed checkpoints with the public key alone.

use std::str::FromStr;

use aws_lc_rs::signature::{ED25519 as ALGORITHM, UnparsedPublicKey};
use base64::prelude::{BASE64_STANDARD, Engine};

use super::{ED25519, key_hash};
use crate::merkle::Hash;

/// The public key that verifies the checkpoints of one log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct VerifierKey {
    origin: String,
    public_key: [u8; 32],
}

/// The content of a checkpoint whose signature was verified.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SignedHead {
    /// Number of events in the log.
    pub size: u64,
    /// The Merkle root over these events.
    pub root: Hash,
}

/// The text is not a verifier key.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("is not a verifier key, which has the form `aegis/0193…+1a2b3c4d+AQ…`; `GET /log/key` returns it")]
pub struct InvalidKey;

/// Why a checkpoint was not verified.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SignatureError {
    /// The text is not a checkpoint in a signed note.
    #[error("not a checkpoint: expected the name, size and root of a log, an empty line, and signatures")]
    Form,
    /// The checkpoint belongs to another log.
    #[error("the checkpoint belongs to the log `{found}`, expected `{expected}`")]
    AnotherLog {
        /// The log of the checkpoint.
        found: String,
        /// The log of the verifier key.
        expected: String,
    },
    /// The checkpoint has no valid signature by the key.
    #[error("the checkpoint has no valid signature by the key of `{0}`")]
    Signature(String),
}

impl SignatureError {
    /// A stable, machine-readable name of the variant.
    #[must_use]
    pub fn code(&self) -> &'static str {
        match self {
            Self::Form => "checkpoint_malformed",
            Self::AnotherLog { .. } => "checkpoint_of_another_log",
            Self::Signature(_) => "checkpoint_not_signed",
        }
    }
}

impl FromStr for VerifierKey {
    type Err = InvalidKey;

    fn from_str(text: &str) -> Result<Self, InvalidKey> {
        let mut parts = text.trim().splitn(3, '+');
        let (Some(origin), Some(hash), Some(key)) = (parts.next(), parts.next(), parts.next()) else {
            return Err(InvalidKey);
        };
        let key = BASE64_STANDARD.decode(key).map_err(|_| InvalidKey)?;
        let public_key: [u8; 32] =
            key.strip_prefix(&[ED25519]).and_then(|key| key.try_into().ok()).ok_or(InvalidKey)?;
        let expected = u32::from_be_bytes(key_hash(origin, &public_key));
        if hash.len() != 8 || u32::from_str_radix(hash, 16) != Ok(expected) {
            return Err(InvalidKey);
        }
        Ok(Self { origin: origin.to_owned(), public_key })
    }
}

impl VerifierKey {
    /// The name of the log whose checkpoints it verifies.
    #[must_use]
    pub fn origin(&self) -> &str {
        &self.origin
    }

    /// Verifies the signature of a checkpoint and parses it. Signatures by other keys, such as witnesses, are
    /// ignored.
    ///
    /// # Errors
    /// [`SignatureError`] if it is malformed, of another log, or not signed by this key.
    pub fn open(&self, note: &str) -> Result<SignedHead, SignatureError> {
        let (body, signatures) = note.split_once("\n\n").ok_or(SignatureError::Form)?;
        let mut lines = body.lines();
        let (Some(origin), Some(size), Some(root)) = (lines.next(), lines.next(), lines.next()) else {
            return Err(SignatureError::Form);
        };
        let root = BASE64_STANDARD.decode(root).ok().and_then(|root| root.try_into().ok());
        let (Ok(size), Some(root)) = (size.parse(), root) else { return Err(SignatureError::Form) };
        if origin != self.origin {
            return Err(SignatureError::AnotherLog {
                found: origin.to_owned(),
                expected: self.origin.clone(),
            });
        }
        let signed = format!("{body}\n");
        let ours = signatures.lines().any(|line| self.has_signed(line, signed.as_bytes()));
        if ours { Ok(SignedHead { size, root }) } else { Err(SignatureError::Signature(self.origin.clone())) }
    }

    fn has_signed(&self, line: &str, text: &[u8]) -> bool {
        let stamp = line.strip_prefix("— ").and_then(|line| line.strip_prefix(&self.origin));
        let stamp = stamp.and_then(|stamp| BASE64_STANDARD.decode(stamp.strip_prefix(' ')?).ok());
        let Some(signature) =
            stamp.as_deref().and_then(|stamp| stamp.strip_prefix(&key_hash(&self.origin, &self.public_key)))
        else {
            return false;
        };
        UnparsedPublicKey::new(&ALGORITHM, &self.public_key).verify(text, signature).is_ok()
    }
}

#[cfg(test)]
mod tests {
    use uuid::Uuid;

    use super::super::Signer;
    use super::*;

    #[test]
    fn tampered_checkpoint_fails_verification() {
        let signer = Signer::new(Uuid::nil(), &[7; 32]).unwrap();
        let key: VerifierKey = signer.verifier_key().parse().unwrap();
        let note = signer.sign(42, &[9; 32]);
        assert_eq!(key.open(&note), Ok(SignedHead { size: 42, root: [9; 32] }));
        let witnessed = format!("{note}— witness.example/w1 AAAAAAAA\n");
        assert_eq!(key.open(&witnessed).map(|head| head.size), Ok(42));
        let forged = |note: String| matches!(key.open(&note), Err(SignatureError::Signature(_)));
        assert!(forged(note.replace("\n42\n", "\n43\n")));
        assert!(forged(signer.sign(42, &[8; 32]).replace("CAgICAgI", "CQkJCQkJ")));
        assert!(forged(note.replace("— aegis/", "— other/")));
        let other = Signer::new(Uuid::nil(), &[8; 32]).unwrap();
        assert!(forged(other.sign(42, &[9; 32])));
        let elsewhere = Signer::new(Uuid::max(), &[7; 32]).unwrap().sign(42, &[9; 32]);
        assert!(matches!(key.open(&elsewhere), Err(SignatureError::AnotherLog { .. })));
        for nonsense in ["", "aegis", "a\nb\nc\n\n", &note.replace("\n\n", "\n")] {
            assert_eq!(key.open(nonsense), Err(SignatureError::Form), "{nonsense:?}");
        }
    }

    #[test]
    fn verifier_key_round_trips_and_malformed_keys_are_rejected() {
        let shown = Signer::new(Uuid::nil(), &[7; 32]).unwrap().verifier_key();
        assert!(format!("{shown}\n").parse::<VerifierKey>().is_ok());
        for other in ["", "a+b", &shown.replace("aegis", "other"), &shown.replace("+A", "+B")] {
            assert_eq!(other.parse::<VerifierKey>(), Err(InvalidKey), "{other}");
        }
    }
}

//! Unique claims: values that one stream at a time may hold (an e-mail address, a username), stored only as
//! keyed hashes (HMAC). Whether a claim is taken is decided by [`commit_planner`](crate::commit_planner).

use std::fmt;

use aws_lc_rs::hmac;

use crate::event::{Position, StreamId};

/// HMAC-SHA-256 of a unique claim under the claim key.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ClaimHash([u8; 32]);

impl ClaimHash {
    /// Parses stored bytes; `None` unless there are 32.
    #[must_use]
    pub fn from_slice(bytes: &[u8]) -> Option<Self> {
        bytes.try_into().ok().map(Self)
    }

    /// The bytes to store.
    #[must_use]
    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }

    /// The 32 bytes.
    #[must_use]
    pub const fn to_octets(&self) -> [u8; 32] {
        self.0
    }
}

impl fmt::Debug for ClaimHash {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().take(4).try_for_each(|byte| write!(out, "{byte:02x}"))?;
        out.write_str("…")
    }
}

/// How far claims have been backfilled.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ClaimBackfill {
    /// The version of the rules by which the values of claims were derived.
    pub rules: u64,
    /// The streams of events up to here have their claims.
    pub position: Position,
    /// In the streams of events up to here, claims derived by earlier rules are replaced.
    pub replace_until: Position,
    /// Streams that lack a claim because another one held it.
    pub collisions: Vec<StreamId>,
}

impl ClaimBackfill {
    /// Nothing is done yet under these rules, in a log that ends at `head`.
    pub(crate) fn begin(rules: u64, head: Position) -> Self {
        Self { rules, position: Position::START, replace_until: head, collisions: Vec::new() }
    }
}

/// New claims for a stream.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ClaimReplacement {
    /// The stream.
    pub stream: StreamId,
    /// The claims that it holds.
    pub from: Vec<ClaimHash>,
    /// The claims that it is to hold.
    pub to: Vec<ClaimHash>,
}

/// The HMAC key of all claims: random, wrapped by the master key (KEK) and never rotated, since every stored
/// hash would have to be recomputed from values that are encrypted.
#[derive(Clone)]
pub struct ClaimKey(hmac::Key);

impl ClaimKey {
    /// Creates the key from its bytes.
    #[must_use]
    pub fn new(bytes: &[u8; 32]) -> Self {
        Self(hmac::Key::new(hmac::HMAC_SHA256, bytes))
    }

    /// Hashes `1|kind|value`; 1 is the version of the normalisation of values.
    #[must_use]
    pub fn hash(&self, kind: &str, value: &str) -> ClaimHash {
        to_claim_hash(hmac::sign(&self.0, format!("1|{kind}|{value}").as_bytes()))
    }

    /// Hashes a list of byte strings for another purpose than a claim. Each is preceded by its length, so
    /// that the encoding of the list is unambiguous.
    pub(crate) fn hash_parts(&self, purpose: &str, parts: &[&[u8]]) -> ClaimHash {
        let mut context = hmac::Context::with_key(&self.0);
        context.update(format!("1|{purpose}|").as_bytes());
        for part in parts {
            context.update(&u64::try_from(part.len()).unwrap_or(u64::MAX).to_be_bytes());
            context.update(part);
        }
        to_claim_hash(context.sign())
    }
}

fn to_claim_hash(tag: hmac::Tag) -> ClaimHash {
    let mut hash = [0; 32];
    for (to, from) in hash.iter_mut().zip(tag.as_ref()) {
        *to = *from;
    }
    ClaimHash(hash)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn claims_differ_by_kind_value_and_key() {
        let key = ClaimKey::new(&[1; 32]);
        let email = key.hash("email", "ada");
        assert_eq!(email, key.hash("email", "ada"));
        assert_ne!(email, key.hash("username", "ada"));
        assert_ne!(email, key.hash("email", "bob"));
        assert_ne!(email, ClaimKey::new(&[2; 32]).hash("email", "ada"));
    }

    #[test]
    fn part_boundaries_change_the_hash() {
        let key = ClaimKey::new(&[1; 32]);
        let hash = key.hash_parts("p", &[b"ab", b"c"]);
        assert_eq!(hash, key.hash_parts("p", &[b"ab", b"c"]));
        assert_ne!(hash, key.hash_parts("p", &[b"a", b"bc"]));
        assert_ne!(hash, key.hash_parts("p", &[b"abc"]));
        assert_ne!(hash, key.hash_parts("q", &[b"ab", b"c"]));
    }
}

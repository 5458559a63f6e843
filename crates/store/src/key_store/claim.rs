//! Claims: what may belong to one stream at a time (an e-mail, a username), kept only as a keyed hash, so that the
//! database can tell "taken" without knowing what.

use std::fmt;

use aws_lc_rs::hmac;

/// HMAC-SHA-256 of a claim under the claim key.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ClaimHash([u8; 32]);

impl ClaimHash {
    /// From stored bytes; `None` unless they are 32.
    #[must_use]
    pub fn from_slice(bytes: &[u8]) -> Option<Self> {
        bytes.try_into().ok().map(Self)
    }

    /// The bytes to store.
    #[must_use]
    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }
}

impl fmt::Debug for ClaimHash {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().take(4).try_for_each(|byte| write!(out, "{byte:02x}"))?;
        out.write_str("…")
    }
}

/// The key of all claims: random, made once, wrapped by the master key and never rotated, since every stored claim
/// would have to be made again from values that are sealed.
#[derive(Clone)]
pub struct ClaimKey(hmac::Key);

impl ClaimKey {
    /// The claim key of those bytes.
    #[must_use]
    pub fn new(bytes: &[u8; 32]) -> Self {
        Self(hmac::Key::new(hmac::HMAC_SHA256, bytes))
    }

    /// The hash of `1|kind|value`, where 1 is the version of the normalisation.
    #[must_use]
    pub fn hash(&self, kind: &str, value: &str) -> ClaimHash {
        finished(hmac::sign(&self.0, format!("1|{kind}|{value}").as_bytes()))
    }

    /// The hash of several values of any bytes, for a purpose that is no claim. Each is preceded by its length, so that
    /// no two lists of values look the same.
    pub(crate) fn hash_parts(&self, purpose: &str, parts: &[&[u8]]) -> ClaimHash {
        let mut context = hmac::Context::with_key(&self.0);
        context.update(format!("1|{purpose}|").as_bytes());
        for part in parts {
            context.update(&u64::try_from(part.len()).unwrap_or(u64::MAX).to_be_bytes());
            context.update(part);
        }
        finished(context.sign())
    }
}

fn finished(tag: hmac::Tag) -> ClaimHash {
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

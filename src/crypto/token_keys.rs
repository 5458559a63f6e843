//! The keys of access tokens with an asymmetric signature, which the service makes itself. Which of them signs and
//! which are published follows from the time alone, so that all nodes agree. Storing them belongs to
//! `app`.

use std::fmt;

use aws_lc_rs::digest::{SHA256, digest};
use aws_lc_rs::signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, Ed25519KeyPair, KeyPair};
use base64::prelude::{BASE64_STANDARD, BASE64_URL_SAFE_NO_PAD, Engine};
use jsonwebtoken::{Algorithm, DecodingKey, EncodingKey};
use serde::{Deserialize, Serialize};
use zeroize::{ZeroizeOnDrop, Zeroizing};

/// For how long a new key is published before it signs, in seconds: longer than clients cache the key set.
pub const PUBLICATION_LEAD: i64 = 600;
/// For how long a key verifies after the last of its tokens should have expired, in seconds: nodes notice a
/// rotation within a minute.
const RETENTION_MARGIN: i64 = 300;
/// An uncompressed point of P-256 (SEC 1): a marker and two coordinates.
const POINT_MARKER: u8 = 4;
const COORDINATE_BYTES: usize = 32;

/// An asymmetric signature algorithm of access tokens.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum KeyAlgorithm {
    /// Ed25519 (RFC 8037).
    EdDSA,
    /// ECDSA with P-256 and SHA-256 (RFC 7518 §3.4).
    ES256,
}

impl KeyAlgorithm {
    /// `None` for algorithms with a shared secret.
    #[must_use]
    pub fn of(algorithm: Algorithm) -> Option<Self> {
        match algorithm {
            Algorithm::EdDSA => Some(Self::EdDSA),
            Algorithm::ES256 => Some(Self::ES256),
            _ => None,
        }
    }
}

impl fmt::Display for KeyAlgorithm {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(match self {
            Self::EdDSA => "EdDSA",
            Self::ES256 => "ES256",
        })
    }
}

/// The stored keys cannot be used, or a key could not be made.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("is not a list of signing keys")]
pub struct InvalidTokenKeys;

/// A key as it is stored, within a sealed entry.
#[derive(Serialize, Deserialize, ZeroizeOnDrop)]
struct StoredKey {
    #[zeroize(skip)]
    algorithm: KeyAlgorithm,
    /// PKCS #8 in base64.
    private: String,
    signs_from: i64,
    longest_token: i64,
}

/// A public key as a JWK (RFC 7517).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PublicKey {
    pub algorithm: KeyAlgorithm,
    /// The thumbprint (RFC 7638).
    pub id: String,
    /// In base64url.
    pub x: String,
    /// In base64url; only of points of P-256.
    pub y: Option<String>,
}

impl PublicKey {
    fn new(algorithm: KeyAlgorithm, bytes: &[u8]) -> Result<Self, InvalidTokenKeys> {
        let encode = |bytes: &[u8]| BASE64_URL_SAFE_NO_PAD.encode(bytes);
        let (x, y) = match algorithm {
            KeyAlgorithm::EdDSA => (encode(bytes), None),
            KeyAlgorithm::ES256 => {
                let point = bytes.strip_prefix(&[POINT_MARKER]).ok_or(InvalidTokenKeys)?;
                let (x, y) = point.split_at_checked(COORDINATE_BYTES).ok_or(InvalidTokenKeys)?;
                (encode(x), Some(encode(y)))
            }
        };
        let mut key = Self { algorithm, id: String::new(), x, y };
        key.id = encode(digest(&SHA256, key.required_members().as_bytes()).as_ref());
        Ok(key)
    }

    /// `kty` and `crv`.
    #[must_use]
    pub fn kind(&self) -> (&'static str, &'static str) {
        match self.algorithm {
            KeyAlgorithm::EdDSA => ("OKP", "Ed25519"),
            KeyAlgorithm::ES256 => ("EC", "P-256"),
        }
    }

    /// The members that the thumbprint covers, in lexicographic order.
    fn required_members(&self) -> String {
        let (kty, crv) = self.kind();
        let y = self.y.as_ref().map(|y| format!(r#","y":"{y}""#)).unwrap_or_default();
        format!(r#"{{"crv":"{crv}","kty":"{kty}","x":"{}"{y}}}"#, self.x)
    }
}

/// A key that signs access tokens, or has signed them.
pub struct TokenKey {
    pub public: PublicKey,
    /// When it begins to sign, in seconds since 1970.
    pub signs_from: i64,
    /// The longest lifetime of a token that it may have signed, in seconds.
    pub longest_token: i64,
    /// PKCS #8.
    private: Zeroizing<Vec<u8>>,
    pub(super) signing: EncodingKey,
    pub(super) verifying: DecodingKey,
}

impl TokenKey {
    fn generate(
        algorithm: KeyAlgorithm,
        signs_from: i64,
        longest_token: i64,
    ) -> Result<Self, InvalidTokenKeys> {
        let private = match algorithm {
            KeyAlgorithm::EdDSA => {
                let pair = Ed25519KeyPair::generate().map_err(|_| InvalidTokenKeys)?;
                pair.to_pkcs8v1().map_err(|_| InvalidTokenKeys)?
            }
            KeyAlgorithm::ES256 => {
                let pair = EcdsaKeyPair::generate(&ECDSA_P256_SHA256_FIXED_SIGNING);
                pair.and_then(|pair| pair.to_pkcs8v1()).map_err(|_| InvalidTokenKeys)?
            }
        };
        Self::new(algorithm, private.as_ref(), signs_from, longest_token)
    }

    fn new(
        algorithm: KeyAlgorithm,
        private: &[u8],
        signs_from: i64,
        longest_token: i64,
    ) -> Result<Self, InvalidTokenKeys> {
        let public = match algorithm {
            KeyAlgorithm::EdDSA => {
                let pair = Ed25519KeyPair::from_pkcs8(private).map_err(|_| InvalidTokenKeys)?;
                PublicKey::new(algorithm, pair.public_key().as_ref())?
            }
            KeyAlgorithm::ES256 => {
                let pair = EcdsaKeyPair::from_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, private);
                PublicKey::new(algorithm, pair.map_err(|_| InvalidTokenKeys)?.public_key().as_ref())?
            }
        };
        let (signing, verifying) = match &public.y {
            None => (EncodingKey::from_ed_der(private), DecodingKey::from_ed_components(&public.x)),
            Some(y) => (EncodingKey::from_ec_der(private), DecodingKey::from_ec_components(&public.x, y)),
        };
        let verifying = verifying.map_err(|_| InvalidTokenKeys)?;
        let private = Zeroizing::new(private.to_vec());
        Ok(Self { public, signs_from, longest_token, private, signing, verifying })
    }

    fn parse(stored: &StoredKey) -> Result<Self, InvalidTokenKeys> {
        let private = BASE64_STANDARD.decode(stored.private.as_bytes()).map_err(|_| InvalidTokenKeys)?;
        Self::new(stored.algorithm, &Zeroizing::new(private), stored.signs_from, stored.longest_token)
    }

    fn stored(&self) -> StoredKey {
        StoredKey {
            algorithm: self.public.algorithm,
            private: BASE64_STANDARD.encode(self.private.as_slice()),
            signs_from: self.signs_from,
            longest_token: self.longest_token,
        }
    }
}

/// The keys of all asymmetric algorithms in use, by the time from which they sign.
#[derive(Default)]
pub struct TokenKeys(Vec<TokenKey>);

impl TokenKeys {
    /// Reads what [`TokenKeys::to_bytes`] wrote.
    ///
    /// # Errors
    /// [`InvalidTokenKeys`] for any other bytes.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, InvalidTokenKeys> {
        let stored: Vec<StoredKey> = serde_json::from_slice(bytes).map_err(|_| InvalidTokenKeys)?;
        let keys = stored.iter().map(TokenKey::parse).collect::<Result<_, _>>()?;
        let mut keys = Self(keys);
        keys.sort();
        Ok(keys)
    }

    /// The keys, private ones, for storage.
    #[must_use]
    pub fn to_bytes(&self) -> Zeroizing<Vec<u8>> {
        let stored: Vec<_> = self.0.iter().map(TokenKey::stored).collect();
        // Structs of strings and numbers always serialise.
        Zeroizing::new(serde_json::to_vec(&stored).unwrap_or_default())
    }

    /// Makes the set ready for a node that signs with this algorithm tokens of that lifetime; returns whether it
    /// changed. The first key signs at once.
    ///
    /// # Errors
    /// [`InvalidTokenKeys`] if the library cannot make a key.
    pub fn prepare(
        &mut self,
        algorithm: KeyAlgorithm,
        lifetime: i64,
        now: i64,
    ) -> Result<bool, InvalidTokenKeys> {
        let Some(signing) = self.signing(algorithm, now).map(|key| key.signs_from) else {
            self.0.push(TokenKey::generate(algorithm, now, lifetime)?);
            self.sort();
            return Ok(true);
        };
        let may_sign = |key: &&mut TokenKey| key.public.algorithm == algorithm && key.signs_from >= signing;
        let mut changed = false;
        for key in self.0.iter_mut().filter(may_sign).filter(|key| key.longest_token < lifetime) {
            key.longest_token = lifetime;
            changed = true;
        }
        Ok(changed)
    }

    /// Adds a key that signs after [`PUBLICATION_LEAD`], or at once, and drops those that verify nothing any more.
    /// If a key has been added that does not sign yet, there is no other one; it may be made to sign at once.
    /// Returns the new key.
    ///
    /// # Errors
    /// [`InvalidTokenKeys`] if the library cannot make a key.
    pub fn rotate(
        &mut self,
        algorithm: KeyAlgorithm,
        now: i64,
        at_once: bool,
    ) -> Result<PublicKey, InvalidTokenKeys> {
        let ends = self.ends();
        self.0 = std::mem::take(&mut self.0)
            .into_iter()
            .zip(ends)
            .filter_map(|(key, end)| end.is_none_or(|end| now < end).then_some(key))
            .collect();
        // The only key signs whatever the clocks say.
        let has_others = self.0.iter().filter(|key| key.public.algorithm == algorithm).count() > 1;
        let last = self.0.iter_mut().rfind(|key| key.public.algorithm == algorithm);
        let longest_token = last.as_ref().map_or(0, |key| key.longest_token);
        let is_first = last.is_none();
        let pending = last.filter(|key| has_others && key.signs_from > now);
        let public = if let Some(pending) = pending {
            if at_once {
                pending.signs_from = now;
            }
            pending.public.clone()
        } else {
            let signs_from = if at_once || is_first { now } else { now.saturating_add(PUBLICATION_LEAD) };
            let key = TokenKey::generate(algorithm, signs_from, longest_token)?;
            let public = key.public.clone();
            self.0.push(key);
            public
        };
        self.sort();
        Ok(public)
    }

    /// The key that signs: the latest one, or, on a node whose clock is behind, the first one.
    #[must_use]
    pub fn signing(&self, algorithm: KeyAlgorithm, now: i64) -> Option<&TokenKey> {
        let mut own = self.0.iter().filter(|key| key.public.algorithm == algorithm);
        let first = own.clone().next();
        own.rfind(|key| key.signs_from <= now).or(first)
    }

    /// The keys that verify now or will, each with the time at which it is dropped, if that is known.
    pub fn published(&self, now: i64) -> impl Iterator<Item = (&TokenKey, Option<i64>)> {
        self.0.iter().zip(self.ends()).filter(move |(_, end)| end.is_none_or(|end| now < end))
    }

    /// The key with that id, if it verifies tokens of that algorithm now.
    #[must_use]
    pub fn verifying(&self, algorithm: KeyAlgorithm, id: &str, now: i64) -> Option<&TokenKey> {
        let mut found = self.published(now).map(|(key, _)| key);
        found.find(|key| key.public.algorithm == algorithm && key.public.id == id)
    }

    /// When each key is dropped: once the tokens that it signed before the next one did have expired.
    fn ends(&self) -> Vec<Option<i64>> {
        let end = |(index, key): (usize, &TokenKey)| {
            let mut later = self.0.iter().skip(index.saturating_add(1));
            let next = later.find(|next| next.public.algorithm == key.public.algorithm)?;
            Some(next.signs_from.saturating_add(key.longest_token).saturating_add(RETENTION_MARGIN))
        };
        self.0.iter().enumerate().map(end).collect()
    }

    /// Stable: a key that was added later is the later one.
    fn sort(&mut self) {
        self.0.sort_by_key(|key| key.signs_from);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const DAY: i64 = 86_400;
    const START: i64 = 1_000_000;

    fn prepared(algorithm: KeyAlgorithm) -> TokenKeys {
        let mut keys = TokenKeys::default();
        assert_eq!(keys.prepare(algorithm, DAY, START), Ok(true));
        assert_eq!(keys.prepare(algorithm, DAY, START), Ok(false));
        keys
    }

    fn ids(keys: &TokenKeys, now: i64) -> Vec<String> {
        keys.published(now).map(|(key, _)| key.public.id.clone()).collect()
    }

    fn signing(keys: &TokenKeys, now: i64) -> String {
        keys.signing(KeyAlgorithm::EdDSA, now).unwrap().public.id.clone()
    }

    /// RFC 8037 appendix A.3.
    #[test]
    fn key_id_is_the_thumbprint_of_rfc_7638() {
        let x = BASE64_URL_SAFE_NO_PAD.decode("11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo").unwrap();
        let key = PublicKey::new(KeyAlgorithm::EdDSA, &x).unwrap();
        assert_eq!(key.id, "kPrK_qmxVWaYVA9wwBF6Iuo3vVzz7TxHCTwXBygrS4k");
    }

    #[test]
    fn new_key_is_published_at_once_and_signs_later() {
        let mut keys = prepared(KeyAlgorithm::EdDSA);
        let old = signing(&keys, START);
        let new = keys.rotate(KeyAlgorithm::EdDSA, START, false).unwrap().id;
        let signs_from = START + PUBLICATION_LEAD;
        assert_eq!(ids(&keys, START), [old.clone(), new.clone()]);
        assert_eq!((signing(&keys, signs_from - 1), signing(&keys, signs_from)), (old.clone(), new.clone()));
        let end = signs_from + DAY + RETENTION_MARGIN;
        assert_eq!(ids(&keys, end - 1), [old.clone(), new.clone()]);
        assert_eq!(ids(&keys, end), [new.as_str()]);
        assert!(keys.verifying(KeyAlgorithm::EdDSA, &old, end).is_none());
        keys.rotate(KeyAlgorithm::EdDSA, end, true).unwrap();
        assert!(!ids(&keys, START).contains(&old), "the next rotation deletes it");
    }

    #[test]
    fn repeated_rotation_adds_no_second_pending_key() {
        let mut keys = prepared(KeyAlgorithm::EdDSA);
        let new = keys.rotate(KeyAlgorithm::EdDSA, START, false).unwrap().id;
        assert_eq!(keys.rotate(KeyAlgorithm::EdDSA, START + 1, false).unwrap().id, new);
        assert_ne!(signing(&keys, START + 1), new);
        assert_eq!(keys.rotate(KeyAlgorithm::EdDSA, START + 1, true).unwrap().id, new);
        assert_eq!(signing(&keys, START + 1), new);
        let newer = keys.rotate(KeyAlgorithm::EdDSA, START + 1, true).unwrap().id;
        assert_eq!(signing(&keys, START + 1), newer);
        assert_eq!(ids(&keys, START + 1).len(), 3);
    }

    #[test]
    fn key_verifies_for_the_longest_lifetime_of_its_tokens() {
        let mut keys = prepared(KeyAlgorithm::EdDSA);
        assert_eq!(keys.prepare(KeyAlgorithm::EdDSA, 3 * DAY, START), Ok(true));
        assert_eq!(keys.prepare(KeyAlgorithm::EdDSA, DAY, START), Ok(false), "tokens of three days exist");
        keys.rotate(KeyAlgorithm::EdDSA, START, true).unwrap();
        assert_eq!(ids(&keys, START + 3 * DAY).len(), 2);
        assert_eq!(ids(&keys, START + 3 * DAY + RETENTION_MARGIN).len(), 1);
    }

    #[test]
    fn algorithms_rotate_apart_and_survive_storage() {
        let mut keys = prepared(KeyAlgorithm::ES256);
        keys.prepare(KeyAlgorithm::EdDSA, DAY, START).unwrap();
        keys.rotate(KeyAlgorithm::EdDSA, START, true).unwrap();
        let stored = TokenKeys::from_bytes(&keys.to_bytes()).unwrap();
        let far = START + 100 * DAY;
        assert_eq!(ids(&stored, START), ids(&keys, START));
        assert_eq!(ids(&stored, far).len(), 2, "the last key of each algorithm");
        assert!(stored.signing(KeyAlgorithm::ES256, START - DAY).is_some(), "a clock may be behind");
        let id = &ids(&stored, far)[0];
        assert!(stored.verifying(KeyAlgorithm::ES256, id, far).is_some());
        assert!(stored.verifying(KeyAlgorithm::EdDSA, id, far).is_none(), "bound to its algorithm");
        for bytes in [&b""[..], b"{}", b"[{}]"] {
            assert!(TokenKeys::from_bytes(bytes).is_err());
        }
    }
}

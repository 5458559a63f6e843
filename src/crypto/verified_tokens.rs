//! The tokens that were verified last: a signature is checked once, and what depends on time each time.

use std::sync::{Mutex, MutexGuard, PoisonError};

use hashlink::LruCache;

use super::token_keys::KeyAlgorithm;
use super::tokens::VerifiedToken;

/// The number of tokens: about 1 KB each.
const CAPACITY: usize = 10_000;
/// Longer ones are verified each time.
const MAX_TOKEN_BYTES: usize = 2048;

/// Only authentic tokens are remembered, so that strangers cannot displace them.
pub(super) struct VerifiedTokens(Mutex<LruCache<Box<str>, Verified>>);

#[derive(Clone)]
pub(super) struct Verified {
    pub(super) token: VerifiedToken,
    /// In seconds since 1970.
    pub(super) not_before: Option<f64>,
    /// The key that has signed it, if the service makes the keys.
    pub(super) key: Option<SigningKeyId>,
}

/// Names a key that the service has made.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct SigningKeyId {
    pub(super) algorithm: KeyAlgorithm,
    pub(super) id: String,
}

impl Default for VerifiedTokens {
    fn default() -> Self {
        Self(Mutex::new(LruCache::new(CAPACITY)))
    }
}

impl VerifiedTokens {
    pub(super) fn get(&self, token: &str) -> Option<Verified> {
        self.tokens().get(token).cloned()
    }

    pub(super) fn insert(&self, token: &str, verified: Verified) {
        if token.len() <= MAX_TOKEN_BYTES {
            self.tokens().insert(token.into(), verified);
        }
    }

    fn tokens(&self) -> MutexGuard<'_, LruCache<Box<str>, Verified>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

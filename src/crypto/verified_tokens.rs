//! The tokens that were verified last: a signature is checked once, and what depends on time each time.

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use domain::{SessionId, UserId};
use hashlink::LruCache;
use store::FIRST_EPOCH;

use super::token_keys::KeyAlgorithm;

/// The number of tokens: about 1 KB each.
const CAPACITY: usize = 10_000;
/// Longer ones are verified each time.
const MAX_TOKEN_BYTES: usize = 2048;

/// The claims of a valid token.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct VerifiedToken {
    pub user: UserId,
    /// The version of the user's stream at issue; zero for tokens of the legacy service, which have no such
    /// claim.
    pub version: u64,
    /// The session that it belongs to. The caller checks that it is still open.
    pub session: Option<SessionId>,
    /// In seconds since 1970.
    pub expires_at: f64,
    /// In seconds since 1970.
    pub issued_at: Option<f64>,
    /// The epoch of the log at issue.
    pub(super) epoch: Option<u64>,
}

impl VerifiedToken {
    /// Whether the token was issued in that epoch of the log, that is since the last restore. A token that names
    /// no epoch, such as one of the legacy service, is compared by the time of its issue if it has one: an
    /// epoch that was raised is not below the time of the restore.
    #[must_use]
    pub fn is_of_epoch(&self, epoch: u64) -> bool {
        match (self.epoch, self.issued_at) {
            (Some(issued_in), _) => issued_in == epoch,
            (None, Some(issued_at)) if epoch > FIRST_EPOCH => {
                Duration::try_from_secs_f64(issued_at).is_ok_and(|at| at.as_secs() >= epoch)
            }
            (None, _) => true,
        }
    }
}

/// Only authentic tokens are remembered, so that forged ones cannot displace them.
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

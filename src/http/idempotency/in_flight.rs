//! Rejects concurrent duplicates of a write within this process.

use std::collections::HashSet;
use std::sync::{Arc, Mutex, PoisonError};

use store::IdempotencyKey;
use store::key_store::ClaimHash;

/// The idempotency keys of writes that this process is executing.
#[derive(Clone, Default)]
pub(crate) struct InFlightKeys(Arc<Mutex<HashSet<ClaimHash>>>);

/// Removes the key when the request ends.
pub(super) struct InFlightGuard {
    in_flight: InFlightKeys,
    key: ClaimHash,
}

impl InFlightKeys {
    /// `None` if a write under that key is in progress.
    pub(super) fn begin(&self, key: &IdempotencyKey) -> Option<InFlightGuard> {
        let is_new = self.0.lock().unwrap_or_else(PoisonError::into_inner).insert(key.hash());
        is_new.then(|| InFlightGuard { in_flight: self.clone(), key: key.hash() })
    }
}

impl Drop for InFlightGuard {
    fn drop(&mut self) {
        self.in_flight.0.lock().unwrap_or_else(PoisonError::into_inner).remove(&self.key);
    }
}

//! Recorded results of idempotency keys, with the expired ones deleted in bounded steps.

use std::collections::{BTreeSet, HashMap};

use jiff::Timestamp;

use crate::idempotency::{RecordedResult, expired_per_commit};
use crate::key_store::ClaimHash;

/// Recorded results by key and by age.
#[derive(Default)]
pub(super) struct RecordedResults {
    by_key: HashMap<ClaimHash, RecordedResult>,
    by_age: BTreeSet<(Timestamp, ClaimHash)>,
}

impl RecordedResults {
    /// The recorded result of a key.
    pub(super) fn get(&self, key: ClaimHash) -> Option<RecordedResult> {
        self.by_key.get(&key).cloned()
    }

    /// Records results and deletes some of the expired ones.
    pub(super) fn record(&mut self, results: Vec<(ClaimHash, RecordedResult)>) {
        let Some(now) = results.last().map(|(_, newest)| newest.at) else { return };
        for _ in 0..expired_per_commit(results.len()) {
            let Some((_, oldest)) = self.by_age.first().copied() else { break };
            if self.by_key.get(&oldest).is_some_and(|result| result.is_retained(now)) {
                break;
            }
            self.remove(oldest);
        }
        for (key, result) in results {
            self.remove(key);
            self.by_age.insert((result.at, key));
            self.by_key.insert(key, result);
        }
    }

    fn remove(&mut self, key: ClaimHash) {
        if let Some(removed) = self.by_key.remove(&key) {
            self.by_age.remove(&(removed.at, key));
        }
    }
}

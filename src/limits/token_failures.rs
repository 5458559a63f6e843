//! Machine tokens that turn out not to be valid, by client address: each costs a read of the log. A token that was
//! valid when it was presented last is not counted, so that the failures of others behind the same address do not
//! refuse it.

use std::collections::HashSet;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use store::key_store::ClaimHash;

use super::address::ClientAddress;
use super::buckets::TokenBuckets;
use super::clock::LimitClock;
use super::policy::{LimitExceeded, Policy};

/// A service that starts presents each of its tokens for the first time.
const UNKNOWN_TOKENS: Policy = Policy::bucket("machine-tokens", 600, Duration::from_mins(1));
/// The number of valid tokens that are remembered. When there are more, all are forgotten, and counted once again.
const MAX_VALID: usize = 65_536;

/// The machine tokens that this node has seen.
pub(crate) struct TokenFailures {
    buckets: TokenBuckets<ClientAddress>,
    /// Hashes of tokens that were valid when they were presented last.
    valid: Mutex<HashSet<ClaimHash>>,
}

impl TokenFailures {
    pub(super) fn new(clock: LimitClock) -> Self {
        Self { buckets: TokenBuckets::new(UNKNOWN_TOKENS, clock), valid: Mutex::default() }
    }

    /// Permits one authentication.
    pub(super) fn admit(&self, client: ClientAddress, token: &ClaimHash) -> Result<(), LimitExceeded> {
        if self.valid().contains(token) { Ok(()) } else { self.buckets.take(client) }
    }

    pub(super) fn record(&self, token: ClaimHash, is_valid: bool) {
        let mut valid = self.valid();
        if !is_valid {
            valid.remove(&token);
            return;
        }
        if valid.len() >= MAX_VALID && !valid.contains(&token) {
            valid.clear();
        }
        valid.insert(token);
    }

    fn valid(&self) -> MutexGuard<'_, HashSet<ClaimHash>> {
        self.valid.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use store::Env;
    use store::key_store::ClaimKey;

    use super::*;

    #[test]
    fn number_of_valid_tokens_is_bounded() {
        let failures = TokenFailures::new(LimitClock::new(&Env::system()));
        let hash = |number: usize| ClaimKey::new(&[7; 32]).hash("test", &number.to_string());
        for number in 0..=MAX_VALID {
            failures.record(hash(number), true);
            failures.record(hash(number), true);
        }
        assert_eq!(failures.valid().len(), 1);
        failures.record(hash(MAX_VALID), false);
        assert!(failures.valid().is_empty());
    }
}

//! Limits of requests about webhooks, per node: test deliveries, which make this service send requests, and
//! commands, each of which adds an event to the stream of a webhook.

use std::collections::{HashMap, HashSet};
use std::hash::Hash;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use domain::{UserId, WebhookId};
use tokio::time::Instant;

/// Test deliveries at once, per owner.
const TEST_BURST: u32 = 10;
/// The time in which an owner may make one more test delivery.
const TEST_INTERVAL: Duration = Duration::from_secs(6);
/// Commands at once, per webhook.
const COMMAND_BURST: u32 = 30;
/// The time in which one more command to a webhook is accepted.
const COMMAND_INTERVAL: Duration = Duration::from_secs(10);
/// When to repeat a test delivery of a webhook that has one in flight.
const IN_FLIGHT_RETRY: Duration = Duration::from_secs(1);

/// The request exceeds a limit: it may be repeated after this time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct LimitExceeded {
    pub(crate) retry_after: Duration,
}

/// The limits of this node.
pub struct WebhookLimits {
    tests: TokenBuckets<UserId>,
    commands: TokenBuckets<WebhookId>,
    testing: Arc<Mutex<HashSet<WebhookId>>>,
}

/// A test delivery in flight: the only one of its webhook until it is dropped.
#[derive(Debug)]
pub(crate) struct TestPermit {
    webhook: WebhookId,
    testing: Arc<Mutex<HashSet<WebhookId>>>,
}

impl Drop for TestPermit {
    fn drop(&mut self) {
        self.testing.lock().unwrap_or_else(PoisonError::into_inner).remove(&self.webhook);
    }
}

impl Default for WebhookLimits {
    fn default() -> Self {
        Self {
            tests: TokenBuckets::new(TEST_BURST, TEST_INTERVAL),
            commands: TokenBuckets::new(COMMAND_BURST, COMMAND_INTERVAL),
            testing: Arc::default(),
        }
    }
}

impl WebhookLimits {
    /// Permits one test delivery of a webhook.
    pub(crate) fn begin_test(&self, owner: UserId, webhook: WebhookId) -> Result<TestPermit, LimitExceeded> {
        let mut testing = self.testing.lock().unwrap_or_else(PoisonError::into_inner);
        if testing.contains(&webhook) {
            return Err(LimitExceeded { retry_after: IN_FLIGHT_RETRY });
        }
        self.tests.take(owner, Instant::now())?;
        testing.insert(webhook);
        Ok(TestPermit { webhook, testing: Arc::clone(&self.testing) })
    }

    /// Permits one command to a webhook.
    pub(crate) fn begin_command(&self, webhook: WebhookId) -> Result<(), LimitExceeded> {
        self.commands.take(webhook, Instant::now())
    }
}

/// A token bucket for each key, as the time at which it will be full again (GCRA). Full buckets are not stored.
struct TokenBuckets<K> {
    interval: Duration,
    capacity: Duration,
    full_at: Mutex<HashMap<K, Instant>>,
}

impl<K: Copy + Eq + Hash> TokenBuckets<K> {
    fn new(burst: u32, interval: Duration) -> Self {
        Self { interval, capacity: interval * burst, full_at: Mutex::default() }
    }

    fn take(&self, key: K, now: Instant) -> Result<(), LimitExceeded> {
        let mut full_at = self.full_at.lock().unwrap_or_else(PoisonError::into_inner);
        full_at.retain(|_, full_at| *full_at > now);
        let next = full_at.get(&key).copied().unwrap_or(now) + self.interval;
        let wait = next.saturating_duration_since(now).saturating_sub(self.capacity);
        if wait > Duration::ZERO {
            return Err(LimitExceeded { retry_after: wait });
        }
        full_at.insert(key, next);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use store::Env;

    use super::*;

    #[test]
    fn bucket_refills_at_its_rate_and_keys_are_independent() {
        let (buckets, start) = (TokenBuckets::new(3, Duration::from_secs(6)), Instant::now());
        let after = |seconds| start + Duration::from_secs(seconds);
        let wait = |seconds| Err(LimitExceeded { retry_after: Duration::from_secs(seconds) });
        for _ in 0..3 {
            assert_eq!(buckets.take("ada", start), Ok(()));
        }
        assert_eq!(buckets.take("ada", start), wait(6));
        assert_eq!(buckets.take("ada", after(5)), wait(1));
        assert_eq!(buckets.take("bob", after(5)), Ok(()));
        assert_eq!(buckets.take("ada", after(6)), Ok(()));
        assert_eq!(buckets.take("ada", after(6)), wait(6));
        for _ in 0..3 {
            assert_eq!(buckets.take("ada", after(60)), Ok(()), "no more than a burst is saved up");
        }
        assert_eq!(buckets.take("ada", after(60)), wait(6));
        assert_eq!(buckets.full_at.lock().unwrap().len(), 1, "full buckets are dropped");
    }

    #[test]
    fn webhook_has_one_test_in_flight() {
        let (env, limits) = (Env::system(), WebhookLimits::default());
        let owner = UserId::from_uuid(env.uuid());
        let [one, two] = [(); 2].map(|()| WebhookId::from_uuid(env.uuid()));
        let permit = limits.begin_test(owner, one).unwrap();
        assert_eq!(limits.begin_test(owner, one).unwrap_err().retry_after, IN_FLIGHT_RETRY);
        drop(limits.begin_test(owner, two).unwrap());
        drop(permit);
        drop(limits.begin_test(owner, one).unwrap());
    }
}

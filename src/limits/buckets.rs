//! A token bucket for each key, of which a bounded number is kept.

use std::hash::{BuildHasher, Hash, RandomState};
use std::num::NonZeroU32;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use governor::middleware::NoOpMiddleware;
use governor::state::keyed::HashMapStateStore;
use governor::{Quota, RateLimiter};

use super::clock::LimitClock;
use super::policy::{LimitExceeded, Policy, QuotaUnit};

/// The number of keys with a bucket of their own; further ones share buckets until others are full again.
const MAX_KEYS: usize = 65_536;
const SHARED_BUCKETS: u64 = 1024;
/// Full buckets are dropped after this many requests.
const PRUNE_INTERVAL: usize = 4096;

pub(crate) struct TokenBuckets<K: Clone + Eq + Hash> {
    policy: Policy,
    limiter: Limiter<K>,
    clock: LimitClock,
    hasher: RandomState,
    requests: AtomicUsize,
    max_keys: usize,
}

type Limiter<K> = RateLimiter<Bucket<K>, HashMapStateStore<Bucket<K>>, LimitClock, NoOpMiddleware<Duration>>;

#[derive(Clone, PartialEq, Eq, Hash)]
enum Bucket<K> {
    Own(K),
    Shared(u64),
}

impl<K: Clone + Eq + Hash> TokenBuckets<K> {
    pub(crate) fn new(policy: Policy, clock: LimitClock) -> Self {
        let burst = NonZeroU32::new(policy.quota).unwrap_or(NonZeroU32::MIN);
        let window = match policy.unit {
            QuotaUnit::Requests { window } => window,
            QuotaUnit::ConcurrentRequests => Duration::from_secs(1),
        };
        let per_second = Quota::per_second(burst);
        let quota =
            Quota::with_period(window / burst.get()).map_or(per_second, |quota| quota.allow_burst(burst));
        Self {
            policy,
            limiter: RateLimiter::hashmap_with_clock(quota, clock.clone()),
            clock,
            hasher: RandomState::new(),
            requests: AtomicUsize::new(0),
            max_keys: MAX_KEYS,
        }
    }

    /// Takes one token.
    pub(crate) fn take(&self, key: K) -> Result<(), LimitExceeded> {
        if self.requests.fetch_add(1, Ordering::Relaxed) % PRUNE_INTERVAL == PRUNE_INTERVAL - 1 {
            self.limiter.retain_recent();
            self.limiter.shrink_to_fit();
        }
        let bucket = if self.limiter.len() < self.max_keys {
            Bucket::Own(key)
        } else {
            Bucket::Shared(self.hasher.hash_one(&key) % SHARED_BUCKETS)
        };
        let now = self.clock.now();
        let refused = |until: governor::NotUntil<_>| self.policy.exceeded(until.wait_time_from(now));
        self.limiter.check_key(&bucket).map_err(refused)
    }
}

#[cfg(test)]
mod tests {
    use std::sync::{Arc, Mutex};

    use jiff::Timestamp;
    use store::{Clock, Entropy, Env};

    use super::*;

    #[derive(Default)]
    struct Simulated(Mutex<i64>);
    impl Clock for Simulated {
        fn now(&self) -> Timestamp {
            Timestamp::from_second(1_000_000 + *self.0.lock().unwrap()).unwrap()
        }
    }
    impl Entropy for Simulated {
        fn fill(&self, bytes: &mut [u8]) {
            bytes.fill(7);
        }
    }

    const POLICY: Policy = Policy::bucket("tests", 3, Duration::from_secs(18));

    fn buckets() -> (TokenBuckets<String>, Arc<Simulated>) {
        let time = Arc::new(Simulated::default());
        let clock = LimitClock::new(&Env::new(time.clone(), time.clone()));
        (TokenBuckets::new(POLICY, clock), time)
    }

    #[test]
    fn bucket_refills_at_its_rate_and_keys_are_independent() {
        let (buckets, time) = buckets();
        let wait = |seconds| Err(POLICY.exceeded(Duration::from_secs(seconds)));
        let at = |seconds, key: &str| {
            *time.0.lock().unwrap() = seconds;
            buckets.take(key.to_owned())
        };
        for _ in 0..3 {
            assert_eq!(at(0, "ada"), Ok(()));
        }
        assert_eq!(at(0, "ada"), wait(6));
        assert_eq!(at(5, "ada"), wait(1));
        assert_eq!(at(5, "bob"), Ok(()));
        assert_eq!(at(6, "ada"), Ok(()));
        assert_eq!(at(6, "ada"), wait(6));
        for _ in 0..3 {
            assert_eq!(at(60, "ada"), Ok(()), "no more than a burst is saved up");
        }
        assert_eq!(at(60, "ada"), wait(6));
        assert_eq!(at(0, "ada"), wait(6), "a clock that is set back prolongs nothing");
    }

    #[test]
    fn number_of_buckets_is_bounded_and_full_ones_are_dropped() {
        let (mut buckets, time) = buckets();
        buckets.max_keys = 10;
        for number in 0..PRUNE_INTERVAL - 1 {
            let _ = buckets.take(number.to_string());
        }
        assert!(buckets.limiter.len() <= 10 + usize::try_from(SHARED_BUCKETS).unwrap());
        *time.0.lock().unwrap() = 3600;
        assert_eq!(buckets.take("ada".to_owned()), Ok(()));
        assert_eq!(buckets.limiter.len(), 1);
    }
}

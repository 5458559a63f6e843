//! Limits of requests about webhooks, per node: test deliveries, which make this service send requests, and
//! commands, each of which adds an event to the stream of a webhook.

use std::collections::HashSet;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use domain::{UserId, WebhookId};
use store::Env;

use crate::limits::{LimitClock, LimitExceeded, Policy, TokenBuckets};

/// Test deliveries, per owner.
const TESTS: Policy = Policy::bucket("webhook-tests", 10, Duration::from_mins(1));
/// Commands, per webhook.
const COMMANDS: Policy = Policy::bucket("webhook-commands", 30, Duration::from_mins(5));
/// Test deliveries of one webhook.
const TESTS_IN_FLIGHT: Policy = Policy::concurrent("webhook-tests-in-flight", 1);
/// When to repeat a test delivery of a webhook that has one in flight.
const IN_FLIGHT_RETRY: Duration = Duration::from_secs(1);

/// The limits of this node.
pub struct WebhookLimits {
    enabled: bool,
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

impl WebhookLimits {
    /// Unless they are enabled, only concurrent test deliveries of a webhook are refused.
    #[must_use]
    pub fn new(enabled: bool, env: &Env) -> Self {
        let clock = LimitClock::new(env);
        Self {
            enabled,
            tests: TokenBuckets::new(TESTS, clock.clone()),
            commands: TokenBuckets::new(COMMANDS, clock),
            testing: Arc::default(),
        }
    }

    /// Permits one test delivery of a webhook.
    pub(crate) fn begin_test(&self, owner: UserId, webhook: WebhookId) -> Result<TestPermit, LimitExceeded> {
        let mut testing = self.testing.lock().unwrap_or_else(PoisonError::into_inner);
        if testing.contains(&webhook) {
            return Err(TESTS_IN_FLIGHT.exceeded(IN_FLIGHT_RETRY));
        }
        if self.enabled {
            self.tests.take(owner)?;
        }
        testing.insert(webhook);
        Ok(TestPermit { webhook, testing: Arc::clone(&self.testing) })
    }

    /// Permits one command to a webhook.
    pub(crate) fn begin_command(&self, webhook: WebhookId) -> Result<(), LimitExceeded> {
        if self.enabled { self.commands.take(webhook) } else { Ok(()) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn webhook_has_one_test_in_flight() {
        let (env, limits) = (Env::system(), WebhookLimits::new(true, &Env::system()));
        let owner = UserId::from_uuid(env.uuid());
        let [one, two] = [(); 2].map(|()| WebhookId::from_uuid(env.uuid()));
        let permit = limits.begin_test(owner, one).unwrap();
        assert_eq!(limits.begin_test(owner, one).unwrap_err().retry_after, IN_FLIGHT_RETRY);
        drop(limits.begin_test(owner, two).unwrap());
        drop(permit);
        drop(limits.begin_test(owner, one).unwrap());
    }
}

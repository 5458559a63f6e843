//! Failed logins per account: after ten, further attempts are delayed, ever longer up to a quarter of an
//! hour, until one succeeds. Accounts are keyed hashes of e-mail addresses, whether a user has them or not,
//! so that a refusal does not tell. An account is never locked permanently.

use std::collections::HashMap;
use std::pin::pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use domain::UserId;
use store::key_store::ClaimHash;
use tokio::sync::Notify;
use tokio::time::{Instant, timeout_at};

use super::clock::LimitClock;
use super::policy::{LimitExceeded, Policy};

const FREE_FAILURES: u32 = 10;
const FIRST_DELAY: Duration = Duration::from_secs(10);
const MAX_DELAY: Duration = Duration::from_mins(15);
const FAILED_LOGINS: Policy = Policy::bucket("failed-logins", FREE_FAILURES, MAX_DELAY);
/// After how long without a failure the failures of an account are forgotten.
const RETENTION: Duration = Duration::from_hours(24);
/// How long an attempt waits for others of the same account, which may use up the free failures.
const CONCURRENT_WAIT: Duration = Duration::from_secs(5);
const CONCURRENT_RETRY: Duration = Duration::from_secs(1);
/// The number of accounts with failures that are kept.
const MAX_ACCOUNTS: usize = 65_536;

/// The failed logins that this node has seen.
pub(crate) struct AccountLimits {
    enabled: bool,
    clock: LimitClock,
    state: Mutex<State>,
    /// Notified when an attempt ends.
    ended: Notify,
}

#[derive(Default)]
struct State {
    accounts: HashMap<ClaimHash, Account>,
    /// Whether a task watches the log for unlocked users.
    is_watching: bool,
}

#[derive(Clone, Copy, Default)]
struct Account {
    failures: u32,
    in_progress: u32,
    delayed_until: Duration,
    last_failure: Duration,
    /// The user with this e-mail address, if there is one.
    user: Option<UserId>,
}

/// An attempt in progress. Dropped without a result, it counts as neither failed nor successful.
pub(crate) struct LoginAttempt {
    limits: Arc<AccountLimits>,
    /// `None` once it has ended.
    account: Option<ClaimHash>,
}

/// What a result changes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Transition {
    None,
    /// A series of delays begins.
    Locked,
    /// There were failures before this success.
    Recovered,
}

impl AccountLimits {
    pub(super) fn new(enabled: bool, clock: LimitClock) -> Self {
        Self { enabled, clock, state: Mutex::default(), ended: Notify::new() }
    }

    /// Permits one attempt. While the attempts in progress could use up the free failures, it waits for them:
    /// concurrent attempts are not more guesses.
    pub(crate) async fn begin(self: &Arc<Self>, account: ClaimHash) -> Result<LoginAttempt, LimitExceeded> {
        let deadline = Instant::now() + CONCURRENT_WAIT;
        loop {
            let mut ended = pin!(self.ended.notified());
            ended.as_mut().enable();
            if let Some(decided) = self.try_begin(account) {
                return decided.map(|()| LoginAttempt::new(self, account));
            }
            if timeout_at(deadline, ended).await.is_err() {
                return Err(FAILED_LOGINS.exceeded(CONCURRENT_RETRY));
            }
        }
    }

    /// `None` if it depends on the attempts in progress.
    fn try_begin(&self, key: ClaimHash) -> Option<Result<(), LimitExceeded>> {
        if !self.enabled {
            return Some(Ok(()));
        }
        let now = self.clock.now();
        let mut state = self.state();
        state.make_room(now);
        let account = state.accounts.entry(key).or_default();
        if account.in_progress == 0 && now >= account.last_failure + RETENTION {
            *account = Account::default();
        }
        if now < account.delayed_until {
            return Some(Err(FAILED_LOGINS.exceeded(account.delayed_until.saturating_sub(now))));
        }
        // After the free failures one attempt at a time.
        let limit = FREE_FAILURES.saturating_sub(account.failures).max(1);
        if account.in_progress >= limit {
            return None;
        }
        account.in_progress += 1;
        Some(Ok(()))
    }

    fn end(&self, key: ClaimHash, update: impl FnOnce(&mut Account, Duration) -> Transition) -> Transition {
        if !self.enabled {
            return Transition::None;
        }
        let now = self.clock.now();
        let mut state = self.state();
        let Some(account) = state.accounts.get_mut(&key) else { return Transition::None };
        account.in_progress = account.in_progress.saturating_sub(1);
        let transition = update(account, now);
        if account.failures == 0 && account.in_progress == 0 {
            state.accounts.remove(&key);
        }
        drop(state);
        self.ended.notify_waiters();
        transition
    }

    /// Ends the delay of a user.
    pub(crate) fn unlock(&self, user: UserId) {
        let mut state = self.state();
        for account in state.accounts.values_mut().filter(|account| account.user == Some(user)) {
            *account = Account { in_progress: account.in_progress, ..Account::default() };
        }
        drop(state);
        self.ended.notify_waiters();
    }

    /// Whether a task has to be started that watches the log for unlocked users.
    pub(crate) fn start_watching(&self) -> bool {
        !std::mem::replace(&mut self.state().is_watching, true)
    }

    /// Whether the task may end, because no user's logins are delayed.
    pub(crate) fn stop_watching(&self) -> bool {
        let now = self.clock.now();
        let mut state = self.state();
        state.is_watching = state.accounts.values().any(|account| account.is_delayed_user(now));
        !state.is_watching
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    /// Bounds the number of accounts: those with the fewest and oldest failures are forgotten first.
    fn make_room(&mut self, now: Duration) {
        if self.accounts.len() < MAX_ACCOUNTS {
            return;
        }
        self.accounts.retain(|_, account| account.in_progress > 0 || now < account.last_failure + RETENTION);
        if self.accounts.len() < MAX_ACCOUNTS {
            return;
        }
        let idle = self.accounts.iter().filter(|(_, account)| account.in_progress == 0);
        let mut idle: Vec<_> =
            idle.map(|(key, account)| (account.failures, account.last_failure, *key)).collect();
        idle.sort_unstable();
        for (_, _, key) in idle.iter().take(MAX_ACCOUNTS / 8) {
            self.accounts.remove(key);
        }
    }
}

impl Account {
    fn is_delayed_user(&self, now: Duration) -> bool {
        self.user.is_some() && self.failures >= FREE_FAILURES && now < self.last_failure + RETENTION
    }

    fn fail(&mut self, user: Option<UserId>, now: Duration) -> Transition {
        self.failures = self.failures.saturating_add(1);
        self.last_failure = now;
        self.user = user;
        if let Some(doublings) = self.failures.checked_sub(FREE_FAILURES) {
            let factor = 2_u32.checked_pow(doublings).unwrap_or(u32::MAX);
            self.delayed_until = now + FIRST_DELAY.saturating_mul(factor).min(MAX_DELAY);
        }
        if self.failures == FREE_FAILURES { Transition::Locked } else { Transition::None }
    }

    fn succeed(&mut self) -> Transition {
        let had_failures = self.failures > 0;
        *self = Self { in_progress: self.in_progress, ..Self::default() };
        if had_failures { Transition::Recovered } else { Transition::None }
    }
}

impl LoginAttempt {
    /// The password was wrong, or `user` is `None`. Returns whether a series of delays begins.
    pub(crate) fn failed(mut self, user: Option<UserId>) -> bool {
        self.end(|account, now| account.fail(user, now)) == Transition::Locked
    }

    /// The password was right. Returns whether there were failures before.
    pub(crate) fn succeeded(mut self) -> bool {
        self.end(|account, _| account.succeed()) == Transition::Recovered
    }

    fn new(limits: &Arc<AccountLimits>, account: ClaimHash) -> Self {
        Self { limits: Arc::clone(limits), account: Some(account) }
    }

    fn end(&mut self, update: impl FnOnce(&mut Account, Duration) -> Transition) -> Transition {
        self.account.take().map_or(Transition::None, |account| self.limits.end(account, update))
    }
}

impl Drop for LoginAttempt {
    fn drop(&mut self) {
        self.end(|_, _| Transition::None);
    }
}

#[cfg(test)]
mod tests {
    use futures::FutureExt;
    use store::Env;
    use store::key_store::ClaimKey;

    use super::*;

    fn limits() -> Arc<AccountLimits> {
        Arc::new(AccountLimits::new(true, LimitClock::new(&Env::system())))
    }

    fn account(email: &str) -> ClaimHash {
        ClaimKey::new(&[7; 32]).hash("test", email)
    }

    async fn fail(limits: &Arc<AccountLimits>, email: &str, user: Option<UserId>) -> bool {
        limits.begin(account(email)).await.ok().unwrap().failed(user)
    }

    fn user() -> UserId {
        UserId::from_uuid(Env::system().uuid())
    }

    #[tokio::test]
    async fn concurrent_attempts_are_not_more_guesses() {
        let limits = limits();
        let mut attempts = Vec::new();
        for _ in 0..FREE_FAILURES {
            attempts.push(limits.begin(account("ada")).await.ok().unwrap());
        }
        let mut eleventh = Box::pin(limits.begin(account("ada")));
        assert!(eleventh.as_mut().now_or_never().is_none(), "it waits for the others");
        assert!(limits.begin(account("bob")).await.is_ok());
        for attempt in attempts {
            attempt.failed(None);
        }
        let refused = eleventh.await.err().unwrap();
        assert_eq!(refused.policy, FAILED_LOGINS);
        assert!(refused.retry_after > CONCURRENT_RETRY, "{refused:?}");
    }

    #[tokio::test]
    async fn abandoned_attempts_and_successes_free_their_place() {
        let limits = limits();
        for _ in 0..3 * FREE_FAILURES {
            drop(limits.begin(account("ada")).await.ok().unwrap());
        }
        for _ in 1..FREE_FAILURES {
            assert!(!fail(&limits, "ada", None).await);
        }
        assert!(limits.begin(account("ada")).await.ok().unwrap().succeeded());
        assert!(!limits.begin(account("ada")).await.ok().unwrap().succeeded(), "nothing failed since");
        assert!(limits.state().accounts.is_empty());
    }

    #[tokio::test]
    async fn series_of_delays_begins_once_and_ends_by_unlocking() {
        let (limits, user) = (limits(), user());
        for _ in 1..FREE_FAILURES {
            assert!(!fail(&limits, "ada", Some(user)).await);
        }
        assert!(fail(&limits, "ada", Some(user)).await);
        assert!(limits.begin(account("ada")).await.is_err());
        assert!(limits.start_watching() && !limits.start_watching(), "one task");
        assert!(!limits.stop_watching());
        limits.unlock(user);
        assert!(limits.stop_watching() && limits.start_watching());
        assert!(limits.begin(account("ada")).await.is_ok());
    }

    #[test]
    fn number_of_accounts_is_bounded() {
        let mut state = State::default();
        let key = |number: usize| account(&number.to_string());
        for number in 0..MAX_ACCOUNTS {
            let failures = if number == 7 { FREE_FAILURES } else { 1 };
            state.accounts.insert(key(number), Account { failures, ..Account::default() });
        }
        state.make_room(Duration::ZERO);
        assert_eq!(state.accounts.len(), MAX_ACCOUNTS - MAX_ACCOUNTS / 8);
        assert!(state.accounts.contains_key(&key(7)), "delayed accounts are forgotten last");
        state.accounts.insert(key(MAX_ACCOUNTS), Account::default());
        for number in MAX_ACCOUNTS..2 * MAX_ACCOUNTS {
            state.accounts.insert(key(number), Account::default());
        }
        state.make_room(RETENTION);
        assert!(state.accounts.is_empty(), "failures are forgotten after a day");
    }
}

//! The spells of failed logins that this node has seen and not yet recorded to the end, in bounded memory.

use std::collections::HashMap;
use std::time::Duration;

use domain::{LoginClient, LoginFailure, SPELL_TIMEOUT, UserId};
use store::key_store::ClaimHash;

/// The number of spells that are kept. Of further ones only the beginning is recorded.
const MAX_SPELLS: usize = 16_384;
/// How long to wait before what could not be recorded is tried again.
const RETRY_INTERVAL: Duration = Duration::from_secs(10);

/// A failed login of a user.
pub(crate) struct FailedLogin {
    /// A keyed hash of the e-mail address.
    pub(crate) account: ClaimHash,
    pub(crate) user: UserId,
    pub(crate) reason: LoginFailure,
    pub(crate) client: LoginClient,
    pub(crate) request_id: String,
}

/// Spells by account, which is a keyed hash of the e-mail address.
pub(super) struct Spells {
    by_account: HashMap<ClaimHash, Spell>,
    max_spells: usize,
}

/// A spell of failed logins.
#[derive(Clone, Debug)]
pub(super) struct Spell {
    pub(super) user: UserId,
    /// Refusals by a limit included.
    pub(super) count: u64,
    /// Of the last failure.
    pub(super) reason: LoginFailure,
    pub(super) client: LoginClient,
    pub(super) request_id: String,
    last_failure: Duration,
    beginning: Beginning,
    /// A success ended it that is not recorded.
    is_finished: bool,
    /// When what is due may be tried again.
    retry_at: Duration,
}

/// Whether the log says that the spell began.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Beginning {
    Pending,
    Recorded,
}

/// What is to be recorded of a spell.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Due {
    Beginning,
    End {
        /// It has not timed out.
        is_early: bool,
    },
}

impl Default for Spells {
    fn default() -> Self {
        Self { by_account: HashMap::new(), max_spells: MAX_SPELLS }
    }
}

impl Spells {
    /// Counts a failure of a user.
    pub(super) fn fail(&mut self, login: FailedLogin, now: Duration) {
        let FailedLogin { account, user, reason, client, request_id } = login;
        if let Some(spell) = self.by_account.get_mut(&account) {
            spell.count = spell.count.saturating_add(1);
            (spell.reason, spell.client, spell.request_id) = (reason, client, request_id);
            spell.last_failure = now;
            return;
        }
        self.make_room();
        let spell = Spell {
            user,
            count: 1,
            reason,
            client,
            request_id,
            last_failure: now,
            beginning: Beginning::Pending,
            is_finished: false,
            retry_at: now,
        };
        self.by_account.insert(account, spell);
    }

    /// Counts an attempt that a limit refused, if there is a spell.
    pub(super) fn refuse(&mut self, account: &ClaimHash, now: Duration) {
        if let Some(spell) = self.by_account.get_mut(account) {
            spell.count = spell.count.saturating_add(1);
            spell.last_failure = now;
        }
    }

    /// The failures of the account's spell.
    pub(super) fn count(&self, account: &ClaimHash) -> u64 {
        self.by_account.get(account).map_or(0, |spell| spell.count)
    }

    /// Whether the beginning of the account's spell is still to be recorded.
    pub(super) fn is_beginning(&self, account: &ClaimHash) -> bool {
        self.by_account.get(account).is_some_and(|spell| spell.beginning == Beginning::Pending)
    }

    pub(super) fn is_empty(&self) -> bool {
        self.by_account.is_empty()
    }

    /// Up to `limit` spells of which something is to be recorded now. Those that need no event are forgotten.
    pub(super) fn due(&mut self, now: Duration, limit: usize) -> Vec<(ClaimHash, Spell, Due)> {
        self.by_account.retain(|_, spell| !(spell.has_ended(now) && spell.is_fully_recorded()));
        let due = |(account, spell): (&ClaimHash, &Spell)| {
            let due = spell.due(now)?;
            Some((*account, spell.clone(), due))
        };
        self.by_account.iter().filter_map(due).take(limit).collect()
    }

    /// Up to `limit` spells whose end is to be recorded before the node stops; they are forgotten.
    pub(super) fn take(&mut self, limit: usize) -> Vec<Spell> {
        self.by_account.retain(|_, spell| !spell.is_fully_recorded());
        let accounts: Vec<_> = self.by_account.keys().take(limit).copied().collect();
        accounts.iter().filter_map(|account| self.by_account.remove(account)).collect()
    }

    /// The log says that the spell began.
    pub(super) fn begun(&mut self, account: &ClaimHash) {
        if let Some(spell) = self.by_account.get_mut(account) {
            spell.beginning = Beginning::Recorded;
        }
    }

    /// The failures up to a count are recorded: further ones begin a new spell.
    pub(super) fn end(&mut self, account: &ClaimHash, count: u64) {
        let Some(spell) = self.by_account.get_mut(account) else { return };
        spell.count = spell.count.saturating_sub(count);
        (spell.beginning, spell.is_finished) = (Beginning::Pending, false);
        if spell.count == 0 {
            self.by_account.remove(account);
        }
    }

    /// A success ends the spell which is not recorded itself.
    pub(super) fn finish(&mut self, account: &ClaimHash) {
        if let Some(spell) = self.by_account.get_mut(account) {
            spell.is_finished = true;
        }
    }

    /// Nothing more is recorded of the spell.
    pub(super) fn forget(&mut self, account: &ClaimHash) {
        self.by_account.remove(account);
    }

    /// What was due could not be recorded.
    pub(super) fn postpone(&mut self, account: &ClaimHash, now: Duration) {
        if let Some(spell) = self.by_account.get_mut(account) {
            spell.retry_at = now + RETRY_INTERVAL;
        }
    }

    /// Forgets an eighth of the spells if there are too many: those without a recent failure.
    fn make_room(&mut self) {
        if self.by_account.len() < self.max_spells {
            return;
        }
        let mut ages: Vec<_> =
            self.by_account.iter().map(|(account, spell)| (spell.last_failure, *account)).collect();
        ages.sort_unstable();
        for (_, account) in ages.iter().take((self.max_spells / 8).max(1)) {
            self.by_account.remove(account);
        }
    }
}

impl Spell {
    fn has_timed_out(&self, now: Duration) -> bool {
        now >= self.last_failure + SPELL_TIMEOUT
    }

    fn has_ended(&self, now: Duration) -> bool {
        self.is_finished || self.has_timed_out(now)
    }

    /// Whether the event of its beginning says all: one attempt failed.
    fn is_fully_recorded(&self) -> bool {
        self.beginning == Beginning::Recorded && self.count <= 1
    }

    fn due(&self, now: Duration) -> Option<Due> {
        if now < self.retry_at {
            return None;
        }
        match self.beginning {
            _ if self.has_ended(now) => Some(Due::End { is_early: !self.has_timed_out(now) }),
            Beginning::Pending => Some(Due::Beginning),
            Beginning::Recorded => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn account(number: u8) -> ClaimHash {
        ClaimHash::from_slice(&[number; 32]).unwrap()
    }

    fn fail(spells: &mut Spells, number: u8, now: u64) {
        let login = FailedLogin {
            account: account(number),
            user: UserId::parse("0193e2b4-0000-7000-8000-000000000001").unwrap(),
            reason: LoginFailure::WrongPassword,
            client: LoginClient::default(),
            request_id: "r".to_owned(),
        };
        spells.fail(login, Duration::from_secs(now));
    }

    fn due(spells: &mut Spells, now: u64) -> Vec<(Due, u64)> {
        let due = spells.due(Duration::from_secs(now), 10);
        due.into_iter().map(|(_, spell, due)| (due, spell.count)).collect()
    }

    const TIMEOUT: u64 = SPELL_TIMEOUT.as_secs();
    const END: Due = Due::End { is_early: false };

    #[test]
    fn a_spell_begins_with_its_first_failure_and_ends_a_quarter_of_an_hour_after_its_last() {
        let mut spells = Spells::default();
        fail(&mut spells, 1, 0);
        assert_eq!(due(&mut spells, 0), [(Due::Beginning, 1)]);
        spells.begun(&account(1));
        fail(&mut spells, 1, 600);
        spells.refuse(&account(1), Duration::from_secs(700));
        assert_eq!(spells.count(&account(1)), 3);
        assert_eq!(due(&mut spells, 700 + TIMEOUT - 1), []);
        assert_eq!(due(&mut spells, 700 + TIMEOUT), [(END, 3)]);
        spells.end(&account(1), 3);
        assert!(spells.is_empty());
    }

    #[test]
    fn one_failure_needs_no_end() {
        let mut spells = Spells::default();
        fail(&mut spells, 1, 0);
        spells.begun(&account(1));
        assert_eq!(due(&mut spells, TIMEOUT), []);
        assert!(spells.is_empty());
        spells.refuse(&account(1), Duration::ZERO);
        assert!(spells.is_empty(), "a refusal begins no spell");
    }

    #[test]
    fn what_could_not_be_recorded_is_tried_again() {
        let mut spells = Spells::default();
        fail(&mut spells, 1, 0);
        spells.postpone(&account(1), Duration::ZERO);
        assert_eq!(due(&mut spells, 9), []);
        assert_eq!(due(&mut spells, 10), [(Due::Beginning, 1)]);
        assert_eq!(due(&mut spells, TIMEOUT), [(END, 1)], "its beginning was never recorded");
    }

    #[test]
    fn failures_during_a_success_begin_a_new_spell() {
        let mut spells = Spells::default();
        fail(&mut spells, 1, 0);
        spells.begun(&account(1));
        let reported = spells.count(&account(1));
        fail(&mut spells, 1, 1);
        spells.end(&account(1), reported);
        assert_eq!(due(&mut spells, 1), [(Due::Beginning, 1)]);
    }

    #[test]
    fn a_flood_over_many_accounts_keeps_memory_bounded() {
        let mut spells = Spells { max_spells: 16, ..Spells::default() };
        for number in 0..=255 {
            fail(&mut spells, number, number.into());
        }
        assert!(spells.by_account.len() <= 16);
        assert_eq!(spells.count(&account(255)), 1, "the newest are kept");
    }

    #[test]
    fn a_success_that_is_not_recorded_ends_a_spell() {
        let mut spells = Spells::default();
        for number in 1..=2 {
            fail(&mut spells, number, 0);
            spells.begun(&account(number));
        }
        fail(&mut spells, 2, 1);
        for number in 1..=2 {
            spells.finish(&account(number));
        }
        assert_eq!(due(&mut spells, 1), [(Due::End { is_early: true }, 2)]);
        spells.end(&account(2), 2);
        assert!(spells.is_empty());
    }

    #[test]
    fn a_stopping_node_ends_what_is_not_recorded() {
        let mut spells = Spells::default();
        for number in 1..=3 {
            fail(&mut spells, number, 0);
            spells.begun(&account(number));
        }
        fail(&mut spells, 2, 1);
        let taken = spells.take(10);
        assert_eq!(taken.iter().map(|spell| spell.count).collect::<Vec<_>>(), [2]);
        assert!(spells.is_empty());
    }
}

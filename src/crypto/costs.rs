//! The costs of the stored hashes, and hashes of no password with such costs: a login to an account that does
//! not exist must take as long as one to an account that does (user enumeration), whatever costs that one
//! has.

use std::collections::BTreeMap;
use std::sync::{PoisonError, RwLock};

use domain::PasswordHash;

use super::hashes::HashKind;

/// The number of different costs that are kept. Imports rarely have more than a few.
const MAX_KINDS: usize = 64;

/// How many stored hashes there are of each kind, approximately: counted from time to time, and updated by
/// the hashes that this node makes.
pub struct CostsInUse {
    current: HashKind,
    counts: RwLock<BTreeMap<HashKind, u64>>,
}

/// A count of stored hashes.
#[derive(Clone, Debug, Default)]
pub struct HashSurvey(BTreeMap<HashKind, u64>);

impl HashSurvey {
    /// Counts a hash. One that cannot be verified has no costs.
    pub fn add(&mut self, hash: &PasswordHash) {
        if let Some(kind) = HashKind::of(hash)
            && (self.0.len() < MAX_KINDS || self.0.contains_key(&kind))
        {
            *self.0.entry(kind).or_default() += 1;
        }
    }
}

impl CostsInUse {
    pub(super) fn new(current: HashKind) -> Self {
        Self { current, counts: RwLock::default() }
    }

    /// Replaces the counts.
    pub fn replace(&self, survey: HashSurvey) {
        *self.counts.write().unwrap_or_else(PoisonError::into_inner) = survey.0;
    }

    /// Counts a new hash, which has current costs.
    pub(super) fn add_current(&self) {
        *self.counts.write().unwrap_or_else(PoisonError::into_inner).entry(self.current).or_default() += 1;
    }

    /// Counts a hash no more, because it was replaced.
    pub(crate) fn remove(&self, hash: &PasswordHash) {
        let mut counts = self.counts.write().unwrap_or_else(PoisonError::into_inner);
        if let Some(count) = HashKind::of(hash).and_then(|kind| counts.get_mut(&kind)) {
            *count = count.saturating_sub(1);
        }
    }

    /// The kind that an account has which does not exist. `selector` is the beginning of a keyed hash of its
    /// e-mail address, so that each kind is chosen as often as it is stored, and always the same for an
    /// account. Current costs come first: as hashes are replaced, they take over accounts from the others, as
    /// they do among accounts that exist.
    pub(super) fn choose(&self, selector: u64) -> HashKind {
        let counts = self.counts.read().unwrap_or_else(PoisonError::into_inner);
        let total: u64 = counts.values().sum();
        if total == 0 {
            return self.current;
        }
        // `selector / 2^64` of the total; the quotient is below it.
        let product = u128::from(selector) * u128::from(total);
        let mut rank = u64::try_from(product >> u64::BITS).unwrap_or(0);
        let current = counts.get(&self.current).map(|count| (self.current, *count));
        let others = counts.iter().filter(|(kind, _)| **kind != self.current);
        for (kind, count) in current.into_iter().chain(others.map(|(kind, count)| (*kind, *count))) {
            if rank < count {
                return kind;
            }
            rank -= count;
        }
        self.current
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hash(memory: u32) -> PasswordHash {
        let phc = format!(
            "$argon2id$v=19$m={memory},t=1,p=1$AAAAAAAAAAAAAAAAAAAAAA$\
             AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA"
        );
        PasswordHash::new(phc).unwrap()
    }

    fn kind(memory: u32) -> HashKind {
        HashKind::of(&hash(memory)).unwrap()
    }

    fn survey(counts: &[(u32, usize)]) -> HashSurvey {
        let mut survey = HashSurvey::default();
        for (memory, count) in counts {
            for _ in 0..*count {
                survey.add(&hash(*memory));
            }
        }
        survey
    }

    /// How many of a thousand evenly spread accounts have each kind.
    fn chosen(costs: &CostsInUse) -> BTreeMap<HashKind, u32> {
        let mut chosen = BTreeMap::new();
        for number in 0..1000 {
            *chosen.entry(costs.choose(u64::MAX / 1000 * number)).or_default() += 1;
        }
        chosen
    }

    #[test]
    fn kinds_are_chosen_as_often_as_they_are_stored() {
        let costs = CostsInUse::new(kind(64));
        assert_eq!(chosen(&costs), BTreeMap::from([(kind(64), 1000)]));
        costs.replace(survey(&[(64, 50), (128, 30), (256, 20)]));
        let expected = [(kind(64), 500), (kind(128), 300), (kind(256), 200)];
        for (kind, count) in expected {
            assert!(chosen(&costs)[&kind].abs_diff(count) <= 1, "{:?}", chosen(&costs));
        }
        costs.replace(survey(&[(128, 3)]));
        assert_eq!(chosen(&costs), BTreeMap::from([(kind(128), 1000)]), "no hash has current costs");
    }

    #[test]
    fn rehashing_moves_accounts_to_current_costs_only() {
        let costs = CostsInUse::new(kind(64));
        costs.replace(survey(&[(64, 5), (128, 5)]));
        let before: Vec<_> = (0..100).map(|number| costs.choose(u64::MAX / 100 * number)).collect();
        costs.add_current();
        costs.remove(&hash(128));
        for (number, before) in (0..100).zip(before) {
            let after = costs.choose(u64::MAX / 100 * number);
            assert!(after == before || after == kind(64), "account {number}");
        }
    }

    #[test]
    fn unusable_hashes_have_no_costs_and_the_number_of_kinds_is_bounded() {
        let mut survey = HashSurvey::default();
        survey.add(&PasswordHash::new("$1$md5".to_owned()).unwrap());
        assert!(survey.0.is_empty());
        for number in 0..100 {
            survey.add(&hash(64 + number));
        }
        assert_eq!(survey.0.len(), MAX_KINDS);
    }
}

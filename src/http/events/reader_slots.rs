//! Who follows the log, and how often at once: each user has so many held, so that nobody takes all.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use store::StreamId;

/// Streams, and requests that wait for events, that each user may have open on a node.
pub(crate) const MAX_READERS_PER_USER: usize = 100;

/// Who follows now.
#[derive(Clone, Default)]
pub(crate) struct ReaderSlots(Arc<Mutex<HashMap<StreamId, usize>>>);

impl ReaderSlots {
    /// A place for that user; none if they have all of theirs.
    pub(super) fn acquire(&self, user: &StreamId) -> Option<ReaderSlot> {
        let mut counts = self.counts();
        let held = counts.entry(user.clone()).or_default();
        if *held >= MAX_READERS_PER_USER {
            return None;
        }
        *held += 1;
        Some(ReaderSlot { slots: self.clone(), user: user.clone() })
    }

    fn counts(&self) -> MutexGuard<'_, HashMap<StreamId, usize>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A slot, given back when it is dropped.
pub(super) struct ReaderSlot {
    slots: ReaderSlots,
    user: StreamId,
}

impl Drop for ReaderSlot {
    fn drop(&mut self) {
        if let Entry::Occupied(mut held) = self.slots.counts().entry(self.user.clone()) {
            *held.get_mut() -= 1;
            if *held.get() == 0 {
                held.remove();
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_user_has_a_limited_number_of_slots() {
        let slots = ReaderSlots::default();
        let [ada, bob] = ["user-ada", "user-bob"].map(|name| StreamId::new(name).unwrap());
        let mut held: Vec<_> = (0..MAX_READERS_PER_USER).map(|_| slots.acquire(&ada).unwrap()).collect();
        assert!(slots.acquire(&ada).is_none());
        assert!(slots.acquire(&bob).is_some());
        held.pop();
        let again = slots.acquire(&ada);
        assert!(again.is_some() && slots.acquire(&ada).is_none());
        drop((held, again));
        assert!(slots.counts().is_empty(), "nobody is kept in mind who follows nothing");
    }
}

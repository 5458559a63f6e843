//! Limits the concurrent event streams and long polls of each user, so that one user cannot exhaust the node.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use store::StreamId;

/// Event streams and long polls per user and node.
pub(crate) const MAX_READERS_PER_USER: usize = 100;

#[derive(Clone, Default)]
pub(crate) struct ReaderSlots(Arc<Mutex<HashMap<StreamId, usize>>>);

impl ReaderSlots {
    /// A slot for the user; `None` if they have reached the limit.
    pub(crate) fn acquire(&self, user: &StreamId) -> Option<ReaderSlot> {
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

/// Released when dropped.
pub(crate) struct ReaderSlot {
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
        assert!(slots.counts().is_empty(), "users without slots are not stored");
    }
}

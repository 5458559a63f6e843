//! Who follows the log, and how often at once: each user has so many places, so that nobody takes all.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use store::StreamId;

/// Streams, and requests that wait for events, that each user may have open on a node.
pub(crate) const PLACES: usize = 100;

/// Who follows now.
#[derive(Clone, Default)]
pub(crate) struct Subscribers(Arc<Mutex<HashMap<StreamId, usize>>>);

impl Subscribers {
    /// A place for that user; none if they have all of theirs.
    pub(super) fn take(&self, user: &StreamId) -> Option<Place> {
        let mut taken = self.taken();
        let places = taken.entry(user.clone()).or_default();
        if *places >= PLACES {
            return None;
        }
        *places += 1;
        Some(Place { subscribers: self.clone(), user: user.clone() })
    }

    fn taken(&self) -> MutexGuard<'_, HashMap<StreamId, usize>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A place, given back when it is dropped.
pub(super) struct Place {
    subscribers: Subscribers,
    user: StreamId,
}

impl Drop for Place {
    fn drop(&mut self) {
        if let Entry::Occupied(mut places) = self.subscribers.taken().entry(self.user.clone()) {
            *places.get_mut() -= 1;
            if *places.get() == 0 {
                places.remove();
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn everybody_has_so_many_places_and_gets_them_back() {
        let subscribers = Subscribers::default();
        let [ada, bob] = ["user-ada", "user-bob"].map(|name| StreamId::new(name).unwrap());
        let mut places: Vec<_> = (0..PLACES).map(|_| subscribers.take(&ada).unwrap()).collect();
        assert!(subscribers.take(&ada).is_none());
        assert!(subscribers.take(&bob).is_some());
        places.pop();
        let again = subscribers.take(&ada);
        assert!(again.is_some() && subscribers.take(&ada).is_none());
        drop((places, again));
        assert!(subscribers.taken().is_empty(), "nobody is kept in mind who follows nothing");
    }
}

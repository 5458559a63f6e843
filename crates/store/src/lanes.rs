//! What waits to be written, in two lanes, so that many small appends and a few large ones share each batch: a large
//! one goes into every batch at least, and half of every batch is kept for small ones while any wait. Pure, and in
//! order: within a lane nobody overtakes, and within a batch they stand as they came.

use std::collections::VecDeque;

/// How much of a batch an append takes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Load {
    pub(crate) events: usize,
    pub(crate) bytes: usize,
}

impl Load {
    /// Batches beyond this buy latency, not throughput (events measured on MongoDB); the bytes keep a transaction's
    /// oplog entry far below the 16 MB of one document.
    pub(crate) const BATCH: Self = Self { events: 512, bytes: 4 * 1024 * 1024 };

    /// From here on an append is a large one: an eighth of a batch.
    const LARGE: Self = Self { events: Self::BATCH.events / 8, bytes: Self::BATCH.bytes / 8 };

    fn is_large(self) -> bool {
        self.events >= Self::LARGE.events || self.bytes >= Self::LARGE.bytes
    }

    fn half(self) -> Self {
        Self { events: self.events / 2, bytes: self.bytes / 2 }
    }

    fn plus(self, other: Self) -> Self {
        Self { events: self.events + other.events, bytes: self.bytes + other.bytes }
    }

    fn fits(self, room: Self) -> bool {
        self.events <= room.events && self.bytes <= room.bytes
    }
}

/// Something that waits, its place in the order of coming, and its load.
struct Placed<T> {
    place: u64,
    load: Load,
    item: T,
}

/// What waits.
pub(crate) struct Lanes<T> {
    small: VecDeque<Placed<T>>,
    large: VecDeque<Placed<T>>,
    next: u64,
}

impl<T> Default for Lanes<T> {
    fn default() -> Self {
        Self { small: VecDeque::new(), large: VecDeque::new(), next: 0 }
    }
}

impl<T> Lanes<T> {
    /// Puts one at the end of its lane.
    pub(crate) fn push(&mut self, load: Load, item: T) {
        let lane = if load.is_large() { &mut self.large } else { &mut self.small };
        lane.push_back(Placed { place: self.next, load, item });
        self.next += 1;
    }

    /// Whether nothing waits.
    pub(crate) fn is_empty(&self) -> bool {
        self.small.is_empty() && self.large.is_empty()
    }

    /// Takes the next batch, in the order in which they came. One that is larger than a batch still goes.
    pub(crate) fn next_batch(&mut self) -> Vec<T> {
        let (all, half) = (Load::BATCH, Load::BATCH.half());
        let mut batch = Vec::new();
        let share = if self.small.is_empty() { all } else { half };
        let large = take(&mut self.large, Load::default(), share, &mut batch);
        // After a large one there may be less room than the half that small ones always have.
        let room = Load {
            events: all.events.max(large.events + half.events),
            bytes: all.bytes.max(large.bytes + half.bytes),
        };
        let both = take(&mut self.small, large, room, &mut batch);
        // What small ones leave is for large ones again.
        if self.small.is_empty() && !batch.is_empty() {
            fill(&mut self.large, both, all, &mut batch);
        }
        batch.sort_unstable_by_key(|placed| placed.place);
        batch.into_iter().map(|placed| placed.item).collect()
    }
}

/// Takes from a lane what fits, the first in any case if the batch has nothing yet; gives the load with it.
fn take<T>(lane: &mut VecDeque<Placed<T>>, load: Load, room: Load, batch: &mut Vec<Placed<T>>) -> Load {
    let mut load = load;
    if batch.is_empty()
        && let Some(first) = lane.pop_front()
    {
        load = load.plus(first.load);
        batch.push(first);
    }
    fill(lane, load, room, batch)
}

/// Takes from a lane what fits.
fn fill<T>(lane: &mut VecDeque<Placed<T>>, load: Load, room: Load, batch: &mut Vec<Placed<T>>) -> Load {
    let mut load = load;
    while lane.front().is_some_and(|next| load.plus(next.load).fits(room))
        && let Some(next) = lane.pop_front()
    {
        load = load.plus(next.load);
        batch.push(next);
    }
    load
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn events(events: usize) -> Load {
        Load { events, bytes: 100 * events }
    }

    /// Lanes with appends of so many events, called by their place and size.
    fn lanes(loads: impl IntoIterator<Item = usize>) -> Lanes<(usize, usize)> {
        let mut lanes = Lanes::default();
        for (place, size) in loads.into_iter().enumerate() {
            lanes.push(events(size), (place, size));
        }
        lanes
    }

    fn sizes(batch: &[(usize, usize)]) -> Vec<usize> {
        batch.iter().map(|(_, size)| *size).collect()
    }

    #[test]
    fn small_ones_fill_a_batch_up_to_its_cap() {
        let mut lanes = lanes([1; 600]);
        assert_eq!(lanes.next_batch().len(), 512);
        assert_eq!(lanes.next_batch().len(), 88);
        assert!(lanes.is_empty() && lanes.next_batch().is_empty());
    }

    #[test]
    fn bytes_fill_a_batch_as_events_do() {
        let mut lanes = Lanes::default();
        for _ in 0..20 {
            lanes.push(Load { events: 1, bytes: Load::BATCH.bytes / 10 }, ());
        }
        assert_eq!(lanes.next_batch().len(), 10);
    }

    #[test]
    fn few_large_ones_do_not_hold_up_many_small_ones() {
        let mut lanes = lanes(std::iter::repeat_n(512, 10).chain([1; 300]));
        let first = sizes(&lanes.next_batch());
        assert_eq!((first[0], first.len()), (512, 257), "a large one, and half a batch of small ones");
        let second = sizes(&lanes.next_batch());
        assert_eq!((second[0], second.len()), (512, 45), "all small ones are through");
        assert_eq!(sizes(&lanes.next_batch()), [512]);
    }

    #[test]
    fn a_large_one_is_not_held_up_by_small_ones_without_end() {
        let mut lanes = lanes([1; 2000]);
        lanes.push(events(400), (2000, 400));
        assert!(sizes(&lanes.next_batch()).contains(&400));
    }

    #[test]
    fn room_that_small_ones_leave_is_used_by_large_ones() {
        let mut lanes = lanes([100, 100, 100, 100, 100, 100, 1]);
        assert_eq!(sizes(&lanes.next_batch()), [100, 100, 100, 100, 100, 1]);
        assert_eq!(sizes(&lanes.next_batch()), [100]);
    }

    #[test]
    fn one_that_is_larger_than_a_batch_still_goes() {
        let mut lanes = lanes([5000, 1, 6000]);
        assert_eq!(sizes(&lanes.next_batch()), [5000, 1]);
        assert_eq!(sizes(&lanes.next_batch()), [6000]);
    }

    proptest! {
        #[test]
        fn everything_goes_once_in_order_and_no_batch_is_too_large(loads in prop::collection::vec(1..700_usize, 0..60)) {
            let mut lanes = lanes(loads.clone());
            let mut gone = Vec::new();
            while !lanes.is_empty() {
                let waiting_small = loads.iter().enumerate().any(|(place, size)| *size < 64 && !gone.contains(&(place, *size)));
                let batch = lanes.next_batch();
                prop_assert!(!batch.is_empty());
                prop_assert!(batch.is_sorted());
                let total: usize = sizes(&batch).iter().sum();
                let largest = sizes(&batch).into_iter().max().unwrap();
                prop_assert!(total <= 512.max(largest + 256), "{total} events");
                prop_assert!(!waiting_small || sizes(&batch).iter().any(|size| *size < 64), "no small one");
                gone.extend(batch);
            }
            for is_large in [false, true] {
                let lane: Vec<_> = gone.iter().filter(|(_, size)| (*size >= 64) == is_large).collect();
                prop_assert!(lane.is_sorted(), "nobody overtakes within a lane");
            }
            gone.sort_unstable();
            prop_assert_eq!(gone, loads.into_iter().enumerate().collect::<Vec<_>>());
        }
    }
}

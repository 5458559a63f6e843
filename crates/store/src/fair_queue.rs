//! The queue of the group commit: packs small and large appends into batches so that neither starve.
//!
//! While large appends are queued, every batch takes at least one; while small ones are queued, half of every
//! batch is reserved for them. Each lane keeps the order of arrival, and so does each batch. Pure: committing
//! belongs in [`writer`](crate::writer).

use std::collections::VecDeque;

/// The share of a batch that an append takes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct AppendSize {
    pub(crate) events: usize,
    pub(crate) bytes: usize,
}

impl AppendSize {
    /// The limits of one batch. More events add latency but no throughput (measured on MongoDB); the bytes
    /// keep the oplog entry of the transaction far below the limit of 16 MB per document.
    pub(crate) const BATCH: Self = Self { events: 512, bytes: 4 * 1024 * 1024 };

    /// The size from which an append is large: an eighth of a batch.
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

/// A queued item with its size and its place in the order of arrival.
struct Queued<T> {
    sequence: u64,
    size: AppendSize,
    item: T,
}

/// Queued items in two lanes, small and large.
pub(crate) struct FairQueue<T> {
    small: VecDeque<Queued<T>>,
    large: VecDeque<Queued<T>>,
    next: u64,
}

impl<T> Default for FairQueue<T> {
    fn default() -> Self {
        Self { small: VecDeque::new(), large: VecDeque::new(), next: 0 }
    }
}

impl<T> FairQueue<T> {
    /// Adds an item at the end of its lane.
    pub(crate) fn push(&mut self, size: AppendSize, item: T) {
        let lane = if size.is_large() { &mut self.large } else { &mut self.small };
        lane.push_back(Queued { sequence: self.next, size, item });
        self.next += 1;
    }

    /// Whether nothing is queued.
    pub(crate) fn is_empty(&self) -> bool {
        self.small.is_empty() && self.large.is_empty()
    }

    /// Takes the next batch, in the order of arrival. An append larger than the limits is taken too.
    pub(crate) fn next_batch(&mut self) -> Vec<T> {
        let (all, half) = (AppendSize::BATCH, AppendSize::BATCH.half());
        let mut batch = Vec::new();
        let share = if self.small.is_empty() { all } else { half };
        let large = take(&mut self.large, AppendSize::default(), share, &mut batch);
        // A large append may leave less than the half that is reserved for small ones.
        let room = AppendSize {
            events: all.events.max(large.events + half.events),
            bytes: all.bytes.max(large.bytes + half.bytes),
        };
        let both = take(&mut self.small, large, room, &mut batch);
        // Room left by small appends is filled with more large ones.
        if self.small.is_empty() && !batch.is_empty() {
            fill(&mut self.large, both, all, &mut batch);
        }
        batch.sort_unstable_by_key(|queued| queued.sequence);
        batch.into_iter().map(|queued| queued.item).collect()
    }
}

/// Takes what fits from a lane; the first item in any case if the batch is empty, so that an append larger
/// than a batch is committed too. Returns the new size of the batch.
fn take<T>(
    lane: &mut VecDeque<Queued<T>>,
    size: AppendSize,
    room: AppendSize,
    batch: &mut Vec<Queued<T>>,
) -> AppendSize {
    let mut size = size;
    if batch.is_empty()
        && let Some(first) = lane.pop_front()
    {
        size = size.plus(first.size);
        batch.push(first);
    }
    fill(lane, size, room, batch)
}

/// Takes what fits from a lane. Returns the new size of the batch.
fn fill<T>(
    lane: &mut VecDeque<Queued<T>>,
    size: AppendSize,
    room: AppendSize,
    batch: &mut Vec<Queued<T>>,
) -> AppendSize {
    let mut size = size;
    while lane.front().is_some_and(|next| size.plus(next.size).fits(room))
        && let Some(next) = lane.pop_front()
    {
        size = size.plus(next.size);
        batch.push(next);
    }
    size
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn events(events: usize) -> AppendSize {
        AppendSize { events, bytes: 100 * events }
    }

    /// A queue of appends with these numbers of events; the items are index and size.
    fn queue(sizes: impl IntoIterator<Item = usize>) -> FairQueue<(usize, usize)> {
        let mut queue = FairQueue::default();
        for (sequence, size) in sizes.into_iter().enumerate() {
            queue.push(events(size), (sequence, size));
        }
        queue
    }

    fn sizes(batch: &[(usize, usize)]) -> Vec<usize> {
        batch.iter().map(|(_, size)| *size).collect()
    }

    #[test]
    fn small_appends_fill_a_batch_up_to_its_limit() {
        let mut queue = queue([1; 600]);
        assert_eq!(queue.next_batch().len(), 512);
        assert_eq!(queue.next_batch().len(), 88);
        assert!(queue.is_empty() && queue.next_batch().is_empty());
    }

    #[test]
    fn byte_limit_also_bounds_a_batch() {
        let mut queue = FairQueue::default();
        for _ in 0..20 {
            queue.push(AppendSize { events: 1, bytes: AppendSize::BATCH.bytes / 10 }, ());
        }
        assert_eq!(queue.next_batch().len(), 10);
    }

    #[test]
    fn large_appends_do_not_starve_small_ones() {
        let mut queue = queue(std::iter::repeat_n(512, 10).chain([1; 300]));
        let first = sizes(&queue.next_batch());
        assert_eq!((first[0], first.len()), (512, 257), "a large append and half a batch of small ones");
        let second = sizes(&queue.next_batch());
        assert_eq!((second[0], second.len()), (512, 45), "the remaining small appends");
        assert_eq!(sizes(&queue.next_batch()), [512]);
    }

    #[test]
    fn small_appends_do_not_starve_a_large_one() {
        let mut queue = queue([1; 2000]);
        queue.push(events(400), (2000, 400));
        assert!(sizes(&queue.next_batch()).contains(&400));
    }

    #[test]
    fn large_appends_use_room_left_by_small_ones() {
        let mut queue = queue([100, 100, 100, 100, 100, 100, 1]);
        assert_eq!(sizes(&queue.next_batch()), [100, 100, 100, 100, 100, 1]);
        assert_eq!(sizes(&queue.next_batch()), [100]);
    }

    #[test]
    fn append_larger_than_a_batch_is_still_committed() {
        let mut queue = queue([5000, 1, 6000]);
        assert_eq!(sizes(&queue.next_batch()), [5000, 1]);
        assert_eq!(sizes(&queue.next_batch()), [6000]);
    }

    proptest! {
        #[test]
        fn every_append_is_batched_once_in_order_within_limits(
            all in prop::collection::vec(1..700_usize, 0..60)
        ) {
            let mut queue = queue(all.clone());
            let mut taken = Vec::new();
            while !queue.is_empty() {
                let is_queued_small =
                    |(sequence, size): (usize, &usize)| *size < 64 && !taken.contains(&(sequence, *size));
                let queued_small = all.iter().enumerate().any(is_queued_small);
                let batch = queue.next_batch();
                prop_assert!(!batch.is_empty());
                prop_assert!(batch.is_sorted());
                let total: usize = sizes(&batch).iter().sum();
                let largest = sizes(&batch).into_iter().max().unwrap();
                prop_assert!(total <= 512.max(largest + 256), "{total} events");
                prop_assert!(!queued_small || sizes(&batch).iter().any(|size| *size < 64), "no small append");
                taken.extend(batch);
            }
            for is_large in [false, true] {
                let lane: Vec<_> = taken.iter().filter(|(_, size)| (*size >= 64) == is_large).collect();
                prop_assert!(lane.is_sorted(), "each lane keeps its order");
            }
            taken.sort_unstable();
            prop_assert_eq!(taken, all.into_iter().enumerate().collect::<Vec<_>>());
        }
    }
}

//! The queue of the hashing threads, fair by source: sources take turns, each holds at most its share, and a
//! full queue makes room for a source with few jobs by dropping the latest job of the one with the most.
//! Pure: threads belong in [`pool`](super::pool).

use std::collections::{HashMap, VecDeque};
use std::hash::Hash;

pub(super) struct JobQueue<S, J> {
    sources: HashMap<S, VecDeque<J>>,
    /// The sources with jobs, in the order of their turns.
    turns: VecDeque<S>,
    len: usize,
    capacity: usize,
}

/// The job was not queued.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct QueueFull;

impl<S: Copy + Eq + Hash, J> JobQueue<S, J> {
    pub(super) fn new(capacity: usize) -> Self {
        Self { sources: HashMap::new(), turns: VecDeque::new(), len: 0, capacity }
    }

    pub(super) fn len(&self) -> usize {
        self.len
    }

    /// Adds a job of a source that may have `share` jobs in the queue.
    pub(super) fn push(&mut self, source: S, share: usize, job: J) -> Result<(), QueueFull> {
        let queued = self.sources.get(&source).map_or(0, VecDeque::len);
        if queued >= share || (self.len >= self.capacity && !self.make_room(queued)) {
            return Err(QueueFull);
        }
        self.sources.entry(source).or_default().push_back(job);
        self.len += 1;
        if queued == 0 {
            self.turns.push_back(source);
        }
        Ok(())
    }

    /// Takes the oldest job of the source whose turn it is.
    pub(super) fn pop(&mut self) -> Option<J> {
        let source = self.turns.pop_front()?;
        let jobs = self.sources.get_mut(&source)?;
        let job = jobs.pop_front();
        if jobs.is_empty() {
            self.sources.remove(&source);
        } else {
            self.turns.push_back(source);
        }
        self.len -= usize::from(job.is_some());
        job
    }

    /// Drops the latest job of the source with the most, if it has more than one that has `queued` will have.
    fn make_room(&mut self, queued: usize) -> bool {
        let longest = self.sources.values_mut().max_by_key(|jobs| jobs.len());
        let dropped = longest.filter(|jobs| jobs.len() > queued + 1).and_then(VecDeque::pop_back);
        self.len -= usize::from(dropped.is_some());
        dropped.is_some()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn drain(queue: &mut JobQueue<char, u32>) -> Vec<u32> {
        std::iter::from_fn(|| queue.pop()).collect()
    }

    #[test]
    fn sources_take_turns() {
        let mut queue = JobQueue::new(100);
        for job in 0..4 {
            queue.push('a', 100, job).unwrap();
        }
        queue.push('b', 100, 10).unwrap();
        queue.push('c', 100, 20).unwrap();
        queue.push('b', 100, 11).unwrap();
        assert_eq!(drain(&mut queue), [0, 10, 20, 1, 11, 2, 3]);
        assert!(queue.sources.is_empty() && queue.turns.is_empty() && queue.len == 0);
    }

    #[test]
    fn source_holds_at_most_its_share() {
        let mut queue = JobQueue::new(100);
        let pushed = (0..10).filter(|job| queue.push('a', 3, *job).is_ok()).count();
        assert_eq!((pushed, queue.push('b', 3, 10)), (3, Ok(())));
    }

    #[test]
    fn full_queue_makes_room_for_sources_with_few_jobs() {
        let mut queue = JobQueue::new(4);
        for job in 0..4 {
            queue.push('a', 4, job).unwrap();
        }
        assert_eq!(queue.push('a', 5, 9), Err(QueueFull));
        assert_eq!((queue.push('b', 4, 10), queue.push('b', 4, 11)), (Ok(()), Ok(())));
        assert_eq!(queue.push('b', 4, 12), Err(QueueFull), "both have two jobs");
        assert_eq!(queue.push('c', 4, 20), Ok(()));
        assert_eq!(queue.len, 4);
        assert_eq!(drain(&mut queue).len(), 4);
    }
}

//! The queue of a worker pool. Appends come first: clients wait for them, and rows, leases and delivery
//! cursors can wait.

use std::collections::VecDeque;
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

/// How urgent a job is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Priority {
    /// A batch of appends.
    Append,
    /// Everything else.
    Normal,
}

/// What a worker does next.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Next<T> {
    /// Runs this job.
    Run(Priority, T),
    /// The time given by the worker has come.
    Due,
    /// The queue is closed and empty.
    Closed,
}

/// Jobs in two lanes, each in the order of arrival. An append waits for at most one other job, and the other
/// jobs for at most one append each, so neither starve.
pub(crate) struct JobQueue<T> {
    lanes: Mutex<Lanes<T>>,
    changed: Condvar,
}

struct Lanes<T> {
    appends: VecDeque<T>,
    normal: VecDeque<T>,
    /// Whether the job taken last was an append.
    append_was_last: bool,
    closed: bool,
}

impl<T> Default for JobQueue<T> {
    fn default() -> Self {
        let lanes = Lanes {
            appends: VecDeque::new(),
            normal: VecDeque::new(),
            append_was_last: false,
            closed: false,
        };
        Self { lanes: Mutex::new(lanes), changed: Condvar::new() }
    }
}

impl<T> JobQueue<T> {
    /// Adds a job at the end of its lane.
    pub(crate) fn push(&self, priority: Priority, job: T) {
        self.lanes().lane(priority).push_back(job);
        self.changed.notify_one();
    }

    /// Puts back a job that has to wait; it stays the first of its lane.
    pub(crate) fn put_back(&self, priority: Priority, job: T) {
        self.lanes().lane(priority).push_front(job);
        self.changed.notify_one();
    }

    /// Ends the workers once the queue is empty.
    pub(crate) fn close(&self) {
        self.lanes().closed = true;
        self.changed.notify_all();
    }

    /// Waits for the next job, at the latest until `due`.
    pub(crate) fn next(&self, due: Option<Instant>) -> Next<T> {
        let mut lanes = self.lanes();
        loop {
            if let Some((priority, job)) = lanes.take() {
                return Next::Run(priority, job);
            }
            if lanes.closed {
                return Next::Closed;
            }
            let left = due.map(|due| due.saturating_duration_since(Instant::now()));
            lanes = match left {
                Some(left) if left.is_zero() => return Next::Due,
                Some(left) => {
                    let waited = self.changed.wait_timeout(lanes, left);
                    waited.unwrap_or_else(PoisonError::into_inner).0
                }
                None => self.changed.wait(lanes).unwrap_or_else(PoisonError::into_inner),
            };
        }
    }

    fn lanes(&self) -> MutexGuard<'_, Lanes<T>> {
        self.lanes.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<T> Lanes<T> {
    fn lane(&mut self, priority: Priority) -> &mut VecDeque<T> {
        match priority {
            Priority::Append => &mut self.appends,
            Priority::Normal => &mut self.normal,
        }
    }

    fn take(&mut self) -> Option<(Priority, T)> {
        let order = if self.append_was_last {
            [Priority::Normal, Priority::Append]
        } else {
            [Priority::Append, Priority::Normal]
        };
        let (priority, job) =
            order.into_iter().find_map(|priority| Some((priority, self.lane(priority).pop_front()?)))?;
        self.append_was_last = priority == Priority::Append;
        Some((priority, job))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn taken(queue: &JobQueue<u32>) -> Vec<u32> {
        let next = || match queue.next(Some(Instant::now())) {
            Next::Run(_, job) => Some(job),
            Next::Due | Next::Closed => None,
        };
        std::iter::from_fn(next).collect()
    }

    #[test]
    fn append_comes_first_and_then_alternates_with_the_others() {
        let queue = JobQueue::default();
        for (priority, jobs) in [(Priority::Normal, [1, 2, 3]), (Priority::Append, [11, 12, 13])] {
            for job in jobs {
                queue.push(priority, job);
            }
        }
        assert_eq!(taken(&queue), [11, 1, 12, 2, 13, 3]);
        for job in [1, 2] {
            queue.push(Priority::Normal, job);
        }
        assert_eq!(taken(&queue), [1, 2]);
    }

    #[test]
    fn job_that_is_put_back_waits_for_an_append_and_keeps_its_place() {
        let queue = JobQueue::default();
        for job in [1, 2] {
            queue.push(Priority::Normal, job);
        }
        assert_eq!(queue.next(None), Next::Run(Priority::Normal, 1));
        queue.put_back(Priority::Normal, 1);
        queue.push(Priority::Append, 11);
        assert_eq!(taken(&queue), [11, 1, 2]);
    }

    #[test]
    fn closed_queue_is_emptied_first() {
        let queue = JobQueue::default();
        queue.push(Priority::Normal, 1);
        queue.close();
        assert_eq!(queue.next(None), Next::Run(Priority::Normal, 1));
        assert_eq!(queue.next(None), Next::Closed);
    }
}

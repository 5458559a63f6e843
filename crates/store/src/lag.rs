//! Projection lag: the age of the oldest event that a table does not include, on the monotonic clock of this
//! process, from the moment when the process learnt of the event. No wall clock is involved.

use std::collections::VecDeque;
use std::time::Duration;

use tokio::time::Instant;

use crate::event::Position;

/// Heads that are learnt within this time count as learnt together.
const RESOLUTION: Duration = Duration::from_millis(20);
/// The number of heads that are remembered. Beyond it, neighbours are merged.
const MAX_SAMPLES: usize = 64;

/// How far a table is behind the log.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ProjectionLag {
    /// The age of the oldest event that is not applied.
    pub age: Duration,
    /// Whether the event may be older: this process did not see it being appended, or the table is being
    /// filled again.
    pub is_lower_bound: bool,
}

/// When this process learnt of which head, newest last.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct HeadHistory {
    samples: VecDeque<(Position, Instant)>,
    first: Position,
    /// Of events up to here it is not known when they were appended.
    forgotten: Position,
}

impl HeadHistory {
    /// The first head that this process learnt of; [`Position::START`] if the log was empty.
    pub(crate) fn first(&self) -> Position {
        self.first
    }

    /// The log is empty.
    pub(crate) fn begin(&mut self) {
        if self.samples.is_empty() {
            self.samples.push_back((Position::START, Instant::now()));
        }
    }

    /// Records a new head.
    pub(crate) fn record(&mut self, head: Position) {
        let now = Instant::now();
        match self.samples.back_mut() {
            None => (self.first, self.forgotten) = (head, head),
            // The older time stays: a lag is never underestimated.
            Some((last, at)) if now.duration_since(*at) < RESOLUTION => {
                *last = head;
                return;
            }
            Some(_) => {}
        }
        self.samples.push_back((head, now));
        if self.samples.len() > MAX_SAMPLES {
            self.merge_neighbours();
        }
    }

    /// Halves the number of samples. Of two neighbours the later position keeps the earlier time.
    fn merge_neighbours(&mut self) {
        let samples: Vec<_> = self.samples.drain(..).collect();
        let merged = samples.chunks(2).filter_map(|pair| Some((pair.last()?.0, pair.first()?.1)));
        self.samples.extend(merged);
    }

    /// Forgets when heads were learnt that every table has reached, except the newest of them.
    pub(crate) fn forget(&mut self, reached_by_all: Position) {
        while self.samples.get(1).is_some_and(|(position, _)| *position <= reached_by_all) {
            if let Some((position, _)) = self.samples.pop_front() {
                self.forgotten = self.forgotten.max(position);
            }
        }
    }

    /// The lag of a table whose checkpoint is before the head.
    pub(crate) fn lag(&self, checkpoint: Position) -> ProjectionLag {
        let first = self.samples.iter().find(|(position, _)| *position > checkpoint);
        let age = first.map(|(_, at)| at.elapsed()).unwrap_or_default();
        ProjectionLag { age, is_lower_bound: checkpoint < self.forgotten }
    }
}

#[cfg(test)]
mod tests {
    use tokio::time::advance;

    use super::*;

    const fn seconds(seconds: u64) -> Duration {
        Duration::from_secs(seconds)
    }

    fn at(position: u64) -> Position {
        Position::new(position)
    }

    #[tokio::test(start_paused = true)]
    async fn lag_is_the_age_of_the_oldest_unapplied_event_whatever_was_applied_meanwhile() {
        let mut history = HeadHistory::default();
        history.record(at(1));
        for head in 2..=60 {
            advance(seconds(1)).await;
            history.record(at(head));
        }
        // Steadily 20 events, so 20 s, behind, however often the checkpoint moves.
        for head in 61..=200 {
            advance(seconds(1)).await;
            history.record(at(head));
            let lag = history.lag(at(head - 20));
            assert!(lag.age >= seconds(19), "{head}: {lag:?}");
            assert!(lag.age <= seconds(30) && !lag.is_lower_bound, "{head}: {lag:?}");
            history.forget(at(head - 20));
        }
    }

    #[tokio::test(start_paused = true)]
    async fn age_of_events_from_before_this_process_is_a_lower_bound() {
        let mut history = HeadHistory::default();
        history.record(at(7));
        advance(seconds(3)).await;
        history.record(at(9));
        assert_eq!(history.lag(at(5)), ProjectionLag { age: seconds(3), is_lower_bound: true });
        assert_eq!(history.lag(at(7)), ProjectionLag { age: Duration::ZERO, is_lower_bound: false });
        history.forget(at(9));
        advance(seconds(3)).await;
        assert!(history.lag(at(0)).is_lower_bound, "a table that is filled again");
    }

    #[tokio::test(start_paused = true)]
    async fn memory_is_bounded_and_ages_are_never_underestimated() {
        let mut history = HeadHistory::default();
        let started = Instant::now();
        for head in 1..=10_000_u64 {
            history.record(at(head));
            advance(Duration::from_millis(100)).await;
        }
        assert!(history.samples.len() <= MAX_SAMPLES, "{}", history.samples.len());
        for checkpoint in [1, 100, 5_000, 9_990] {
            let appended = started + Duration::from_millis(100) * u32::try_from(checkpoint).unwrap();
            let true_age = appended.elapsed();
            let lag = history.lag(at(checkpoint));
            assert!(lag.age >= true_age, "{checkpoint}: {lag:?}, truly {true_age:?}");
        }
    }
}

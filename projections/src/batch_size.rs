//! Adaptive batch size and throughput of a projector.

use std::collections::VecDeque;
use std::time::Duration;

use tokio::time::Instant;

/// The size of the next batch, adapted to how long the last one took: large enough to amortise its
/// transaction, small enough not to block other writers.
#[derive(Debug)]
pub(crate) struct BatchSize(u64);

impl Default for BatchSize {
    fn default() -> Self {
        Self(500)
    }
}

impl BatchSize {
    const MIN: u64 = 50;
    const MAX: u64 = 4_000;
    const TARGET_MIN: Duration = Duration::from_millis(50);
    const TARGET_MAX: Duration = Duration::from_millis(120);

    /// How many events to read.
    pub(crate) fn size(&self) -> u64 {
        self.0
    }

    /// Adapts to the duration of a batch. A batch that was not full never increases the size.
    pub(crate) fn record(&mut self, full: bool, time: Duration) {
        if time > Self::TARGET_MAX {
            self.0 = (self.0 / 2).max(Self::MIN);
        } else if full && time < Self::TARGET_MIN {
            self.0 = (self.0 * 2).min(Self::MAX);
        }
    }
}

/// Events per second over the last seconds.
#[derive(Debug, Default)]
pub(crate) struct EventRate(VecDeque<(Instant, u64)>);

impl EventRate {
    const WINDOW: Duration = Duration::from_secs(5);

    /// Counts applied events.
    pub(crate) fn add(&mut self, events: u64) {
        let now = Instant::now();
        self.0.push_back((now, events));
        while self.0.front().is_some_and(|(at, _)| now.duration_since(*at) > Self::WINDOW) {
            self.0.pop_front();
        }
    }

    /// Zero if there were no events lately.
    pub(crate) fn per_second(&self) -> u64 {
        let now = Instant::now();
        let lately = self.0.iter().filter(|(at, _)| now.duration_since(*at) <= Self::WINDOW);
        let (mut events, mut first) = (0_u128, now);
        for (at, more) in lately {
            events += u128::from(*more);
            first = first.min(*at);
        }
        let over = now.duration_since(first).max(Duration::from_secs(1));
        u64::try_from(events * 1000 / over.as_millis().max(1)).unwrap_or(u64::MAX)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn batch_size_adapts_to_duration() {
        let mut batch_size = BatchSize::default();
        for _ in 0..10 {
            batch_size.record(true, Duration::from_millis(5));
        }
        assert_eq!(batch_size.size(), BatchSize::MAX);
        batch_size.record(false, Duration::from_millis(5));
        batch_size.record(true, Duration::from_millis(80));
        assert_eq!(batch_size.size(), BatchSize::MAX, "just right");
        for _ in 0..10 {
            batch_size.record(true, Duration::from_secs(1));
        }
        assert_eq!(batch_size.size(), BatchSize::MIN);
    }

    #[tokio::test(start_paused = true)]
    async fn rate_covers_the_last_seconds() {
        let mut rate = EventRate::default();
        assert_eq!(rate.per_second(), 0);
        rate.add(500);
        tokio::time::advance(Duration::from_secs(2)).await;
        rate.add(500);
        assert_eq!(rate.per_second(), 500);
        tokio::time::advance(Duration::from_secs(4)).await;
        assert_eq!(rate.per_second(), 125, "the first is too old to count");
        tokio::time::advance(Duration::from_secs(9)).await;
        assert_eq!(rate.per_second(), 0);
    }
}

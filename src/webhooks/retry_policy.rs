//! When a delivery that failed is tried again, and when no more.

use std::time::Duration;

/// The pause after the first failure. It doubles with every further one.
const INITIAL_DELAY: Duration = Duration::from_secs(1);
/// The longest pause.
pub(super) const MAX_DELAY: Duration = Duration::from_hours(1);
/// How long one event is tried before its webhook is suspended.
pub(super) const GIVE_UP_AFTER: Duration = Duration::from_hours(72);

/// The pause after so many failures, at least 1, of the same event. `jitter` spreads those who failed together: up to a
/// quarter is added, or, of the longest pause, taken away. A receiver that asks for more time is given it, up to [`MAX_DELAY`].
pub(super) fn retry_delay(failures: u32, jitter: u32, asked: Option<Duration>) -> Duration {
    let doubled =
        INITIAL_DELAY.saturating_mul(1_u32.checked_shl(failures.saturating_sub(1)).unwrap_or(u32::MAX));
    let base = doubled.min(MAX_DELAY);
    let spread = base.mul_f64(f64::from(jitter) / f64::from(u32::MAX) / 4.0);
    // Where no more can be added it is taken away, so that those who are tried every hour are not tried at once.
    let spread = if base + spread > MAX_DELAY { base.saturating_sub(spread) } else { base + spread };
    spread.max(asked.unwrap_or_default()).min(MAX_DELAY)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_double_from_a_second_to_an_hour() {
        let seconds: Vec<_> = (1..=14).map(|failures| retry_delay(failures, 0, None).as_secs()).collect();
        assert_eq!(seconds, [1, 2, 4, 8, 16, 32, 64, 128, 256, 512, 1024, 2048, 3600, 3600]);
        assert_eq!(retry_delay(u32::MAX, 0, None), MAX_DELAY);
    }

    #[test]
    fn chance_adds_at_most_a_quarter() {
        assert_eq!(retry_delay(3, u32::MAX, None), Duration::from_secs(5));
        assert_eq!(retry_delay(u32::MAX, u32::MAX, None), MAX_DELAY * 3 / 4);
        assert!(retry_delay(3, u32::MAX / 2, None) < Duration::from_millis(4_501));
    }

    #[test]
    fn a_receiver_may_ask_for_more_time_but_not_for_ever() {
        let asked = |seconds| Some(Duration::from_secs(seconds));
        assert_eq!(retry_delay(1, 0, asked(30)), Duration::from_secs(30));
        assert_eq!(retry_delay(6, 0, asked(1)), Duration::from_secs(32));
        assert_eq!(retry_delay(1, 0, asked(1_000_000)), MAX_DELAY);
    }
}

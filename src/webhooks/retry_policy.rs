//! Retry policy of webhook deliveries, and of mails: exponential backoff with jitter, and when a webhook is suspended.

use std::time::Duration;

/// The delay after the first failure. It doubles with every further failure.
const INITIAL_DELAY: Duration = Duration::from_secs(1);
/// The longest delay between two attempts.
pub(super) const MAX_DELAY: Duration = Duration::from_hours(1);
/// How long one event is retried, as the sum of the delays, before its webhook is suspended.
pub(super) const GIVE_UP_AFTER: Duration = Duration::from_hours(72);

/// The delay before the next attempt, after `failures` (at least 1) failed attempts at the same event.
///
/// `jitter` spreads receivers that failed together: up to a quarter is added to the delay, or, once that
/// would exceed [`MAX_DELAY`], subtracted, so that hourly retries do not coincide either. A `Retry-After`
/// from the receiver (`requested`) extends the delay up to [`MAX_DELAY`].
pub(crate) fn retry_delay(failures: u32, jitter: u32, requested: Option<Duration>) -> Duration {
    let factor = 1_u32.checked_shl(failures.saturating_sub(1)).unwrap_or(u32::MAX);
    let base = INITIAL_DELAY.saturating_mul(factor).min(MAX_DELAY);
    let spread = base.mul_f64(f64::from(jitter) / f64::from(u32::MAX) / 4.0);
    let delay = if base + spread > MAX_DELAY { base.saturating_sub(spread) } else { base + spread };
    delay.max(requested.unwrap_or_default()).min(MAX_DELAY)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn delays_double_from_a_second_to_an_hour() {
        let seconds: Vec<_> = (1..=14).map(|failures| retry_delay(failures, 0, None).as_secs()).collect();
        assert_eq!(seconds, [1, 2, 4, 8, 16, 32, 64, 128, 256, 512, 1024, 2048, 3600, 3600]);
        assert_eq!(retry_delay(u32::MAX, 0, None), MAX_DELAY);
    }

    #[test]
    fn jitter_adds_at_most_a_quarter() {
        assert_eq!(retry_delay(3, u32::MAX, None), Duration::from_secs(5));
        assert_eq!(retry_delay(u32::MAX, u32::MAX, None), MAX_DELAY * 3 / 4);
        assert!(retry_delay(3, u32::MAX / 2, None) < Duration::from_millis(4_501));
    }

    #[test]
    fn retry_after_extends_the_delay_up_to_the_maximum() {
        let requested = |seconds| Some(Duration::from_secs(seconds));
        assert_eq!(retry_delay(1, 0, requested(30)), Duration::from_secs(30));
        assert_eq!(retry_delay(6, 0, requested(1)), Duration::from_secs(32));
        assert_eq!(retry_delay(1, 0, requested(1_000_000)), MAX_DELAY);
    }
}

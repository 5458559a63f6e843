//! When a delivery that failed is tried again, and when no more.

use std::time::Duration;

/// The pause after the first failure. It doubles with every further one.
const FIRST: Duration = Duration::from_secs(1);
/// The longest pause.
pub(super) const LONGEST: Duration = Duration::from_hours(1);
/// How long one event is tried before its webhook is parked.
pub(super) const PATIENCE: Duration = Duration::from_hours(72);

/// The pause after so many failures, at least 1, of the same event. `chance` spreads those who failed together: up to a
/// quarter is added, or, of the longest pause, taken away. A receiver that asks for more time is given it, up to [`LONGEST`].
pub(super) fn pause(failures: u32, chance: u32, asked: Option<Duration>) -> Duration {
    let doubled = FIRST.saturating_mul(1_u32.checked_shl(failures.saturating_sub(1)).unwrap_or(u32::MAX));
    let base = doubled.min(LONGEST);
    let spread = base.mul_f64(f64::from(chance) / f64::from(u32::MAX) / 4.0);
    // Where no more can be added it is taken away, so that those who are tried every hour are not tried at once.
    let spread = if base + spread > LONGEST { base.saturating_sub(spread) } else { base + spread };
    spread.max(asked.unwrap_or_default()).min(LONGEST)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_double_from_a_second_to_an_hour() {
        let seconds: Vec<_> = (1..=14).map(|failures| pause(failures, 0, None).as_secs()).collect();
        assert_eq!(seconds, [1, 2, 4, 8, 16, 32, 64, 128, 256, 512, 1024, 2048, 3600, 3600]);
        assert_eq!(pause(u32::MAX, 0, None), LONGEST);
    }

    #[test]
    fn chance_adds_at_most_a_quarter() {
        assert_eq!(pause(3, u32::MAX, None), Duration::from_secs(5));
        assert_eq!(pause(u32::MAX, u32::MAX, None), LONGEST * 3 / 4);
        assert!(pause(3, u32::MAX / 2, None) < Duration::from_millis(4_501));
    }

    #[test]
    fn a_receiver_may_ask_for_more_time_but_not_for_ever() {
        let asked = |seconds| Some(Duration::from_secs(seconds));
        assert_eq!(pause(1, 0, asked(30)), Duration::from_secs(30));
        assert_eq!(pause(6, 0, asked(1)), Duration::from_secs(32));
        assert_eq!(pause(1, 0, asked(1_000_000)), LONGEST);
    }
}

//! One measurement, and the target that a benchmark sets for it.

use std::time::Duration;

/// One measurement of a subject and of its baseline.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Round {
    pub(crate) value: f64,
    pub(crate) baseline: f64,
}

impl Round {
    pub(crate) fn ratio(self) -> f64 {
        self.value / self.baseline
    }
}

/// What the result of a benchmark should be.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Target {
    /// The value reaches this fraction of its baseline.
    RatioAtLeast(f64),
    /// The value is at most this multiple of its baseline.
    RatioAtMost(f64),
    /// A bound of the value itself; the ratio is informative only.
    ValueAtLeast(f64),
}

impl Target {
    /// The number that is compared with the target.
    pub(crate) fn compared_value(self, round: Round) -> f64 {
        match self {
            Self::RatioAtLeast(_) | Self::RatioAtMost(_) => round.ratio(),
            Self::ValueAtLeast(_) => round.value,
        }
    }

    pub(crate) fn number(self) -> f64 {
        match self {
            Self::RatioAtLeast(number) | Self::RatioAtMost(number) | Self::ValueAtLeast(number) => number,
        }
    }

    pub(crate) fn is_met(self, round: Round) -> bool {
        let compared_value = self.compared_value(round);
        match self {
            Self::RatioAtLeast(number) | Self::ValueAtLeast(number) => compared_value >= number,
            Self::RatioAtMost(number) => compared_value <= number,
        }
    }

    pub(crate) fn rule(self) -> String {
        match self {
            Self::RatioAtLeast(number) => format!("ratio >= {number}"),
            Self::RatioAtMost(number) => format!("ratio <= {number}"),
            Self::ValueAtLeast(number) => format!("value >= {number}"),
        }
    }
}

pub(crate) fn per_second(count: u64, took: Duration) -> f64 {
    f64::from(u32::try_from(count).unwrap_or(u32::MAX)) / took.as_secs_f64()
}

/// The 99th percentile, in milliseconds.
pub(crate) fn p99_ms(mut took: Vec<Duration>) -> f64 {
    took.sort_unstable();
    took.get(took.len() * 99 / 100).copied().unwrap_or_default().as_secs_f64() * 1000.0
}

/// The median of the numbers; `None` if there are none.
pub(crate) fn median(mut numbers: Vec<f64>) -> Option<f64> {
    numbers.sort_by(f64::total_cmp);
    numbers.get(numbers.len() / 2).copied()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn targets_compare_in_their_own_direction() {
        let round = Round { value: 3.0, baseline: 2.0 };
        for (target, met) in [
            (Target::RatioAtLeast(1.5), true),
            (Target::RatioAtLeast(1.6), false),
            (Target::RatioAtMost(1.5), true),
            (Target::RatioAtMost(1.4), false),
            (Target::ValueAtLeast(3.0), true),
            (Target::ValueAtLeast(3.1), false),
        ] {
            assert_eq!(target.is_met(round), met, "{}", target.rule());
        }
    }

    #[test]
    fn median_is_the_middle_number() {
        assert_eq!(median(vec![3.0, 1.0, 2.0]), Some(2.0));
        assert_eq!(median(Vec::new()), None);
    }
}

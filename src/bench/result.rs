//! What comes out: a value, its limit, and whether that is enough.

use serde::Serialize;

use super::scratch::StoreKind;
use super::{BenchError, Benchmark};

/// One turn of subject and limit.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Round {
    /// What the subject reached.
    pub value: f64,
    /// What the limit reached.
    pub baseline: f64,
}

impl Round {
    fn ratio(self) -> f64 {
        self.value / self.baseline
    }
}

/// What a figure should be.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Target {
    /// The value reaches this part of its limit.
    RatioAtLeast(f64),
    /// The value takes at most so many times its limit.
    RatioAtMost(f64),
    /// The value itself; the ratio is for information.
    ValueAtLeast(f64),
}

impl Target {
    /// The number that decides.
    #[must_use]
    pub fn compared_value(self, round: Round) -> f64 {
        match self {
            Self::RatioAtLeast(_) | Self::RatioAtMost(_) => round.ratio(),
            Self::ValueAtLeast(_) => round.value,
        }
    }

    fn number(self) -> f64 {
        match self {
            Self::RatioAtLeast(number) | Self::RatioAtMost(number) | Self::ValueAtLeast(number) => number,
        }
    }

    fn is_met(self, round: Round) -> bool {
        let compared_value = self.compared_value(round);
        match self {
            Self::RatioAtLeast(number) | Self::ValueAtLeast(number) => compared_value >= number,
            Self::RatioAtMost(number) => compared_value <= number,
        }
    }

    /// The rule in words.
    fn rule(self) -> String {
        match self {
            Self::RatioAtLeast(number) => format!("ratio >= {number}"),
            Self::RatioAtMost(number) => format!("ratio <= {number}"),
            Self::ValueAtLeast(number) => format!("value >= {number}"),
        }
    }
}

/// A row's result on one store. Where it could not be measured, its numbers are missing and `note` says why.
#[derive(Clone, Debug, Serialize)]
pub struct BenchmarkResult {
    /// The row.
    pub name: &'static str,
    /// The store it was measured on.
    pub store: &'static str,
    /// What the subject reached.
    pub value: Option<f64>,
    /// What the limit reached in the same round.
    #[serde(rename = "limit")]
    pub baseline: Option<f64>,
    /// Value by limit.
    pub ratio: Option<f64>,
    /// The number in `rule`.
    pub target: f64,
    /// Whether the rule holds; missing if nothing was measured.
    pub pass: Option<bool>,
    /// What value and limit are counted in.
    pub unit: &'static str,
    /// What should hold.
    pub rule: String,
    /// Of so many rounds this is the one in the middle.
    pub rounds: usize,
    /// The least and the greatest of the number that decides, of all rounds.
    pub spread: Option<[f64; 2]>,
    /// Why it was not measured.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub note: Option<String>,
}

impl BenchmarkResult {
    /// The round whose compared value is in the middle: value, limit and ratio then belong together.
    pub(super) fn from_rounds(
        benchmark: &dyn Benchmark,
        store: StoreKind,
        mut rounds: Vec<Round>,
    ) -> Result<Self, BenchError> {
        let target = benchmark.target(store);
        let compared_value = |round: &Round| target.compared_value(*round);
        rounds.sort_by(|a, b| compared_value(a).total_cmp(&compared_value(b)));
        let (Some(least), Some(middle), Some(most)) =
            (rounds.first(), rounds.get(rounds.len() / 2), rounds.last())
        else {
            return Err(BenchError::InvalidMeasurement("not a single round".to_owned()));
        };
        Ok(Self {
            value: Some(rounded(middle.value)),
            baseline: Some(rounded(middle.baseline)),
            ratio: Some(rounded(middle.ratio())),
            pass: Some(target.is_met(*middle)),
            rounds: rounds.len(),
            spread: Some([least, most].map(|round| rounded(compared_value(round)))),
            ..Self::unmeasured(benchmark, store, None)
        })
    }

    /// A figure that could not be measured, and why.
    #[must_use]
    pub fn not_measured(benchmark: &dyn Benchmark, store: StoreKind, why: &dyn std::fmt::Display) -> Self {
        Self::unmeasured(benchmark, store, Some(why.to_string()))
    }

    fn unmeasured(benchmark: &dyn Benchmark, store: StoreKind, note: Option<String>) -> Self {
        let target = benchmark.target(store);
        Self {
            name: benchmark.name(),
            store: store.as_str(),
            value: None,
            baseline: None,
            ratio: None,
            target: target.number(),
            pass: None,
            unit: benchmark.unit(),
            rule: target.rule(),
            rounds: 0,
            spread: None,
            note,
        }
    }
}

/// Three digits behind the point; what lies beyond is noise.
fn rounded(number: f64) -> f64 {
    (number * 1000.0).round() / 1000.0
}

/// The number in the middle of a list that is not empty.
pub(super) fn median(mut numbers: Vec<f64>) -> Option<f64> {
    numbers.sort_by(f64::total_cmp);
    numbers.get(numbers.len() / 2).copied()
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;
    use crate::bench::BENCHMARKS;
    use crate::bench::append_grouped::AppendGrouped;

    fn rounds(pairs: &[(f64, f64)]) -> Vec<Round> {
        pairs.iter().map(|(value, baseline)| Round { value: *value, baseline: *baseline }).collect()
    }

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
    fn the_median_round_is_reported() {
        let rounds = rounds(&[(50.0, 100.0), (10.0, 100.0), (30.0, 90.0)]);
        let figure = BenchmarkResult::from_rounds(&AppendGrouped, StoreKind::Mongodb, rounds).unwrap();
        assert_eq!((figure.value, figure.baseline, figure.ratio), (Some(30.0), Some(90.0), Some(0.333)));
        assert_eq!((figure.pass, figure.rounds, figure.spread), (Some(true), 3, Some([0.1, 0.5])));
        assert!(BenchmarkResult::from_rounds(&AppendGrouped, StoreKind::Mongodb, Vec::new()).is_err());
        assert_eq!(median(vec![3.0, 1.0, 2.0]), Some(2.0));
    }

    #[test]
    fn json_field_names_follow_the_contract() {
        let figure =
            BenchmarkResult::from_rounds(&AppendGrouped, StoreKind::Sqlite, rounds(&[(25_000.0, 50_000.0)]))
                .unwrap();
        let shown = serde_json::to_value(&figure).unwrap();
        assert_eq!(
            shown,
            json!({
                "name": "append_grouped", "store": "sqlite", "value": 25_000.0, "limit": 50_000.0, "ratio": 0.5,
                "target": 20_000.0, "pass": true, "unit": "appends/s", "rule": "value >= 20000", "rounds": 1,
                "spread": [25_000.0, 25_000.0],
            })
        );
        let missing = BenchmarkResult::not_measured(&AppendGrouped, StoreKind::Mongodb, &"no server");
        let shown = serde_json::to_value(&missing).unwrap();
        assert_eq!((&shown["value"], &shown["pass"]), (&Value::Null, &Value::Null));
        assert_eq!((&shown["note"], &shown["target"]), (&json!("no server"), &json!(0.28)));
    }

    #[test]
    fn benchmarks_have_unique_names_and_describe_their_baseline() {
        let names: std::collections::BTreeSet<_> =
            BENCHMARKS.iter().map(|benchmark| benchmark.name()).collect();
        assert_eq!(names.len(), BENCHMARKS.len());
        assert!(BENCHMARKS.iter().all(|benchmark| benchmark.meaning().contains("limit")));
    }
}

//! The result of a benchmark, as it is printed and as JSON.

use serde::Serialize;

use crate::benchmark::Benchmark;
use crate::error::BenchError;
use crate::scratch::StoreKind;
use crate::target::Round;

/// The result of a benchmark on one store. If it could not be measured, the numbers are missing and `note`
/// has the reason.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct BenchmarkResult {
    pub(crate) name: &'static str,
    pub(crate) store: &'static str,
    pub(crate) value: Option<f64>,
    /// The baseline of the same round.
    #[serde(rename = "limit")]
    pub(crate) baseline: Option<f64>,
    /// Value divided by baseline.
    pub(crate) ratio: Option<f64>,
    /// The number in `rule`.
    pub(crate) target: f64,
    /// Whether the target is met; missing if nothing was measured.
    pub(crate) pass: Option<bool>,
    /// The unit of value and baseline.
    pub(crate) unit: &'static str,
    /// The target as text.
    pub(crate) rule: String,
    /// How many rounds were measured; the result is their median.
    pub(crate) rounds: usize,
    /// The smallest and the largest of the compared numbers of all rounds.
    pub(crate) spread: Option<[f64; 2]>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) note: Option<String>,
}

impl BenchmarkResult {
    /// Takes the round with the median compared value, so that value, baseline and ratio are of the same
    /// round.
    pub(crate) fn from_rounds(
        benchmark: &Benchmark,
        store: StoreKind,
        mut rounds: Vec<Round>,
    ) -> Result<Self, BenchError> {
        let target = (benchmark.target)(store);
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

    /// The result of a benchmark that could not be measured.
    pub(crate) fn not_measured(benchmark: &Benchmark, store: StoreKind, why: &dyn std::fmt::Display) -> Self {
        Self::unmeasured(benchmark, store, Some(why.to_string()))
    }

    fn unmeasured(benchmark: &Benchmark, store: StoreKind, note: Option<String>) -> Self {
        let target = (benchmark.target)(store);
        Self {
            name: benchmark.name,
            store: store.as_str(),
            value: None,
            baseline: None,
            ratio: None,
            target: target.number(),
            pass: None,
            unit: benchmark.unit,
            rule: target.rule(),
            rounds: 0,
            spread: None,
            note,
        }
    }
}

/// Three decimals; more would be noise.
fn rounded(number: f64) -> f64 {
    (number * 1000.0).round() / 1000.0
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;
    use crate::benchmarks::{APPEND_GROUPED, BENCHMARKS};

    fn rounds(pairs: &[(f64, f64)]) -> Vec<Round> {
        pairs.iter().map(|(value, baseline)| Round { value: *value, baseline: *baseline }).collect()
    }

    #[test]
    fn the_median_round_is_reported() {
        let rounds = rounds(&[(50.0, 100.0), (10.0, 100.0), (30.0, 90.0)]);
        let figure = BenchmarkResult::from_rounds(&APPEND_GROUPED, StoreKind::Mongodb, rounds).unwrap();
        assert_eq!((figure.value, figure.baseline, figure.ratio), (Some(30.0), Some(90.0), Some(0.333)));
        assert_eq!((figure.pass, figure.rounds, figure.spread), (Some(true), 3, Some([0.1, 0.5])));
        assert!(BenchmarkResult::from_rounds(&APPEND_GROUPED, StoreKind::Mongodb, Vec::new()).is_err());
    }

    #[test]
    fn json_has_the_documented_fields() {
        let figure =
            BenchmarkResult::from_rounds(&APPEND_GROUPED, StoreKind::Sqlite, rounds(&[(25_000.0, 50_000.0)]))
                .unwrap();
        let shown = serde_json::to_value(&figure).unwrap();
        assert_eq!(
            shown,
            json!({
                "name": "append_grouped", "store": "sqlite", "value": 25_000.0, "limit": 50_000.0,
                "ratio": 0.5,
                "target": 20_000.0, "pass": true, "unit": "appends/s", "rule": "value >= 20000", "rounds": 1,
                "spread": [25_000.0, 25_000.0],
            })
        );
        let missing = BenchmarkResult::not_measured(&APPEND_GROUPED, StoreKind::Mongodb, &"no server");
        let shown = serde_json::to_value(&missing).unwrap();
        assert_eq!((&shown["value"], &shown["pass"]), (&Value::Null, &Value::Null));
        assert_eq!((&shown["note"], &shown["target"]), (&json!("no server"), &json!(0.28)));
    }

    #[test]
    fn benchmarks_have_unique_names_and_describe_their_baseline() {
        let names: std::collections::BTreeSet<_> =
            BENCHMARKS.iter().map(|benchmark| benchmark.name).collect();
        assert_eq!(names.len(), BENCHMARKS.len());
        assert!(BENCHMARKS.iter().all(|benchmark| benchmark.meaning.contains("baseline")));
    }
}

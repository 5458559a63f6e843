//! What comes out: a value, its limit, and whether that is enough.

use serde::Serialize;

use super::ground::StoreKind;
use super::{BenchError, Row};

/// One turn of subject and limit.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Round {
    /// What the subject reached.
    pub value: f64,
    /// What the limit reached.
    pub limit: f64,
}

impl Round {
    fn ratio(self) -> f64 {
        self.value / self.limit
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
    pub fn decisive(self, round: Round) -> f64 {
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

    fn is_met_by(self, round: Round) -> bool {
        let decisive = self.decisive(round);
        match self {
            Self::RatioAtLeast(number) | Self::ValueAtLeast(number) => decisive >= number,
            Self::RatioAtMost(number) => decisive <= number,
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
pub struct Figure {
    /// The row.
    pub name: &'static str,
    /// The store it was measured on.
    pub store: &'static str,
    /// What the subject reached.
    pub value: Option<f64>,
    /// What the limit reached in the same round.
    pub limit: Option<f64>,
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

impl Figure {
    /// The round whose decisive number is in the middle: value, limit and ratio then belong together.
    pub(super) fn of(row: &dyn Row, store: StoreKind, mut rounds: Vec<Round>) -> Result<Self, BenchError> {
        let target = row.target(store);
        let decisive = |round: &Round| target.decisive(*round);
        rounds.sort_by(|a, b| decisive(a).total_cmp(&decisive(b)));
        let (Some(least), Some(middle), Some(most)) =
            (rounds.first(), rounds.get(rounds.len() / 2), rounds.last())
        else {
            return Err(BenchError::Void("not a single round".to_owned()));
        };
        Ok(Self {
            value: Some(rounded(middle.value)),
            limit: Some(rounded(middle.limit)),
            ratio: Some(rounded(middle.ratio())),
            pass: Some(target.is_met_by(*middle)),
            rounds: rounds.len(),
            spread: Some([least, most].map(|round| rounded(decisive(round)))),
            ..Self::unmeasured(row, store, None)
        })
    }

    /// A figure that could not be measured, and why.
    #[must_use]
    pub fn missing(row: &dyn Row, store: StoreKind, why: &dyn std::fmt::Display) -> Self {
        Self::unmeasured(row, store, Some(why.to_string()))
    }

    fn unmeasured(row: &dyn Row, store: StoreKind, note: Option<String>) -> Self {
        let target = row.target(store);
        Self {
            name: row.name(),
            store: store.as_str(),
            value: None,
            limit: None,
            ratio: None,
            target: target.number(),
            pass: None,
            unit: row.unit(),
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
    use crate::bench::ROWS;
    use crate::bench::append_grouped::AppendGrouped;

    fn rounds(pairs: &[(f64, f64)]) -> Vec<Round> {
        pairs.iter().map(|(value, limit)| Round { value: *value, limit: *limit }).collect()
    }

    #[test]
    fn a_target_is_met_from_its_own_side() {
        let round = Round { value: 3.0, limit: 2.0 };
        for (target, met) in [
            (Target::RatioAtLeast(1.5), true),
            (Target::RatioAtLeast(1.6), false),
            (Target::RatioAtMost(1.5), true),
            (Target::RatioAtMost(1.4), false),
            (Target::ValueAtLeast(3.0), true),
            (Target::ValueAtLeast(3.1), false),
        ] {
            assert_eq!(target.is_met_by(round), met, "{}", target.rule());
        }
    }

    #[test]
    fn of_several_rounds_the_one_in_the_middle_counts() {
        let rounds = rounds(&[(50.0, 100.0), (10.0, 100.0), (30.0, 90.0)]);
        let figure = Figure::of(&AppendGrouped, StoreKind::Mongodb, rounds).unwrap();
        assert_eq!((figure.value, figure.limit, figure.ratio), (Some(30.0), Some(90.0), Some(0.333)));
        assert_eq!((figure.pass, figure.rounds, figure.spread), (Some(true), 3, Some([0.1, 0.5])));
        assert!(Figure::of(&AppendGrouped, StoreKind::Mongodb, Vec::new()).is_err());
        assert_eq!(median(vec![3.0, 1.0, 2.0]), Some(2.0));
    }

    #[test]
    fn programs_get_the_names_of_the_contract() {
        let figure = Figure::of(&AppendGrouped, StoreKind::Sqlite, rounds(&[(25_000.0, 50_000.0)])).unwrap();
        let shown = serde_json::to_value(&figure).unwrap();
        assert_eq!(
            shown,
            json!({
                "name": "append_grouped", "store": "sqlite", "value": 25_000.0, "limit": 50_000.0, "ratio": 0.5,
                "target": 20_000.0, "pass": true, "unit": "appends/s", "rule": "value >= 20000", "rounds": 1,
                "spread": [25_000.0, 25_000.0],
            })
        );
        let missing = Figure::missing(&AppendGrouped, StoreKind::Mongodb, &"no server");
        let shown = serde_json::to_value(&missing).unwrap();
        assert_eq!((&shown["value"], &shown["pass"]), (&Value::Null, &Value::Null));
        assert_eq!((&shown["note"], &shown["target"]), (&json!("no server"), &json!(0.28)));
    }

    #[test]
    fn every_row_explains_itself_and_no_two_are_called_the_same() {
        let names: std::collections::BTreeSet<_> = ROWS.iter().map(|row| row.name()).collect();
        assert_eq!(names.len(), ROWS.len());
        assert!(ROWS.iter().all(|row| row.meaning().contains("limit")));
    }
}

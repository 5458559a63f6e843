//! What is printed: one JSON object, or a table with an explanation of its rows.

use std::num::NonZero;

use comfy_table::Table;
use comfy_table::presets::NOTHING;
use serde::Serialize;

use crate::benchmarks::BENCHMARKS;
use crate::result::BenchmarkResult;
use crate::rounds::Rounds;

#[derive(Serialize)]
pub(crate) struct Report {
    pub(crate) figures: Vec<BenchmarkResult>,
}

impl Report {
    pub(crate) fn json(&self) -> Result<String, serde_json::Error> {
        Ok(serde_json::to_string(self)? + "\n")
    }

    /// A table, the conditions of the measurement, and what the rows mean.
    pub(crate) fn table(&self, conditions: &str) -> String {
        let header = ["BENCHMARK", "STORE", "VALUE", "BASELINE", "UNIT", "RATIO", "TARGET", "PASS", "SPREAD"];
        let mut table = Table::new();
        table.load_style(NOTHING).set_header(header).add_rows(self.figures.iter().map(cells));
        let rows: Vec<_> = table.lines().map(|line| line.trim().to_owned()).collect();
        let mut text = format!("{}\n\n{conditions}\n", rows.join("\n"));
        for benchmark in BENCHMARKS.iter().filter(|benchmark| self.has(benchmark.name)) {
            text.extend([benchmark.name, ": ", benchmark.meaning, ".\n"]);
        }
        for result in &self.figures {
            if let Some(reason) = &result.note {
                text.extend([result.name, " on ", result.store, " was not measured: ", reason, ".\n"]);
            }
        }
        text
    }

    fn has(&self, name: &str) -> bool {
        self.figures.iter().any(|result| result.name == name)
    }
}

fn cells(result: &BenchmarkResult) -> [String; 9] {
    let pass = result.pass.map_or("not measured", |pass| if pass { "yes" } else { "no" });
    let spread = result.spread.map(|[least, most]| format!("{} to {}", number(least), number(most)));
    [
        result.name.to_owned(),
        result.store.to_owned(),
        result.value.map(number).unwrap_or_default(),
        result.baseline.map(number).unwrap_or_default(),
        result.unit.to_owned(),
        result.ratio.map(number).unwrap_or_default(),
        result.rule.clone(),
        pass.to_owned(),
        spread.unwrap_or_default(),
    ]
}

/// How it was measured, and on what.
pub(crate) fn conditions(rounds: &Rounds) -> String {
    let cores = std::thread::available_parallelism().map_or(1, NonZero::get);
    let load = std::fs::read_to_string("/proc/loadavg").ok();
    let load = load.as_deref().and_then(|load| load.split(' ').next());
    let load = load.map(|load| format!(", load average {load} at the start")).unwrap_or_default();
    format!(
        "{} rounds each: {:.1} s of the subject, then its baseline does the same work. The median round is \
         shown; SPREAD is the smallest and the largest of the numbers that are compared with TARGET. {cores} \
         cores{load}.",
        rounds.count(),
        rounds.round_duration().as_secs_f64()
    )
}

fn number(number: f64) -> String {
    if number >= 1000.0 { format!("{number:.0}") } else { format!("{number:.3}") }
}

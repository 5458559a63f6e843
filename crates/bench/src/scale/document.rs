//! The files of the curve: the figures as JSON, the charts, and the table between two marks of a document.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use super::chart::{store_name, svg};
use super::metric::{METRICS, Metric, number};
use super::point::Point;
use crate::error::BenchError;
use crate::scratch::StoreKind;

const BEGIN: &str = "<!-- scale: begin -->";
const END: &str = "<!-- scale: end -->";

pub(super) struct Document {
    text: PathBuf,
    figures: PathBuf,
    chart: PathBuf,
}

impl Document {
    pub(super) fn new(text: &Path) -> Self {
        let folder = text.with_extension("");
        Self { text: text.to_owned(), figures: folder.join("scale.json"), chart: folder.join("scale.svg") }
    }

    /// The figures so far.
    pub(super) fn points(&self) -> Result<Vec<Point>, BenchError> {
        if !self.figures.exists() {
            return Ok(Vec::new());
        }
        serde_json::from_str(&read(&self.figures)?).map_err(BenchError::invalid)
    }

    pub(super) fn write(&self, points: &[Point]) -> Result<(), BenchError> {
        if let Some(folder) = self.figures.parent() {
            fs::create_dir_all(folder).map_err(BenchError::io("creating the folder of the figures"))?;
        }
        let figures = serde_json::to_string_pretty(points).map_err(BenchError::invalid)?;
        write(&self.figures, &(figures + "\n"))?;
        write(&self.chart, &svg(points).map_err(BenchError::invalid)?)?;
        let text = if self.text.exists() { read(&self.text)? } else { format!("{BEGIN}\n{END}\n") };
        write(&self.text, &replaced(&text, &table(points))?)
    }
}

fn read(path: &Path) -> Result<String, BenchError> {
    fs::read_to_string(path).map_err(BenchError::io(format!("reading {}", path.display())))
}

fn write(path: &Path, text: &str) -> Result<(), BenchError> {
    fs::write(path, text).map_err(BenchError::io(format!("writing {}", path.display())))
}

/// The text with another table between the marks.
fn replaced(text: &str, table: &str) -> Result<String, BenchError> {
    let parts = text.split_once(BEGIN).and_then(|(before, rest)| Some((before, rest.split_once(END)?.1)));
    let (before, after) = parts.ok_or_else(|| {
        BenchError::invalid(format!("the document has no place for the table: {BEGIN} and {END}"))
    })?;
    Ok(format!("{before}{BEGIN}\n{table}{END}{after}"))
}

/// A row for each metric, a column for each number of users; then how it was measured.
pub(super) fn table(points: &[Point]) -> String {
    let mut lines = Vec::new();
    for store in StoreKind::ALL {
        let of_store: Vec<_> = points.iter().filter(|point| point.store == *store).collect();
        if of_store.is_empty() {
            continue;
        }
        let row = |name: &str, cell: &dyn Fn(&Point) -> String| {
            let cells: Vec<_> = of_store.iter().map(|point| cell(point)).collect();
            format!("| {name} | {} |", cells.join(" | "))
        };
        lines.push(String::new());
        lines.push(row(store_name(*store), &|point| number(point.users_as_f64()) + " users"));
        lines.push(format!("|---|{}", "--:|".repeat(of_store.len())));
        for Metric { title, unit, value } in METRICS {
            lines.push(row(&format!("{title}, {unit}"), &|point| number(value(&point.figures))));
        }
        lines
            .push(row("load average at the start", &|point| format!("{:.1}", point.conditions.load_average)));
    }
    let measured: BTreeSet<_> = points
        .iter()
        .map(|Point { conditions, .. }| {
            format!("{} at commit {} on {}", conditions.date, conditions.commit, conditions.machine)
        })
        .collect();
    let measured: Vec<_> = measured.into_iter().collect();
    lines.extend([String::new(), format!("Measured on {}.", measured.join("; on ")), String::new()]);
    lines.join("\n")
}

#[cfg(test)]
mod tests {
    use super::super::conditions::Conditions;
    use super::super::point::Figures;
    use super::*;

    fn point(store: StoreKind, users: u64) -> Point {
        let figures = Figures {
            users_me_per_second: 1234.0,
            users_me_p99_ms: 1.5,
            logins_per_second: 1.0,
            sign_ups_per_second: 1.0,
            imported_per_second: 1.0,
            rebuilt_rows_per_second: 1.0,
            start_up_ms: 1.0,
            resident_mb: 1.0,
            disk_bytes_per_user: 1.0,
        };
        let (date, commit, machine) = ("2026-01-01".to_owned(), "0".to_owned(), "a machine".to_owned());
        Point { store, users, figures, conditions: Conditions { date, commit, machine, load_average: 0.5 } }
    }

    #[test]
    fn written_figures_are_read_again() {
        let folder = tempfile::tempdir().unwrap();
        let document = Document::new(&folder.path().join("performance.md"));
        assert_eq!(document.points().unwrap(), []);
        let points = [point(StoreKind::Sqlite, 1000), point(StoreKind::Mongodb, 1000)];
        document.write(&points).unwrap();
        assert_eq!(document.points().unwrap(), points);
        let text = read(&document.text).unwrap();
        assert!(text.contains("| GET /users/me, requests/s | 1,234 |"), "{text}");
        assert!(text.contains("on a machine"), "{text}");
    }

    #[test]
    fn only_the_table_of_a_document_is_replaced() {
        let text = format!("before\n{BEGIN}\nold\n{END}\nafter\n");
        let expected = format!("before\n{BEGIN}\nnew\n{END}\nafter\n");
        assert_eq!(replaced(&text, "new\n").unwrap(), expected);
        assert!(replaced("nothing", "new").is_err());
    }
}

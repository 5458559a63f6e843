//! Aligned columns for people.

use super::error::CliError;
use super::output::Output;

/// Rows that are held back until their widths are known: those of the first page decide, longer cells of later pages
/// stick out.
pub(super) struct Table<const N: usize> {
    header: Option<[&'static str; N]>,
    widths: [usize; N],
    rows: Vec<[String; N]>,
}

impl<const N: usize> Table<N> {
    pub(super) fn new(header: [&'static str; N]) -> Self {
        Self { header: Some(header), widths: header.map(str::len), rows: Vec::new() }
    }

    pub(super) fn row(&mut self, cells: [String; N]) {
        self.rows.push(cells.map(|cell| printable(&cell)));
    }

    /// Prints what was held back, the header before the first row of all.
    pub(super) fn print(&mut self, out: &mut Output) -> Result<(), CliError> {
        if self.rows.is_empty() {
            return Ok(());
        }
        if let Some(header) = self.header.take() {
            for row in &self.rows {
                for (width, cell) in self.widths.iter_mut().zip(row) {
                    *width = cell.chars().count().max(*width);
                }
            }
            out.line(&aligned(&header, &self.widths))?;
        }
        for row in self.rows.drain(..) {
            out.line(&aligned(&row, &self.widths))?;
        }
        Ok(())
    }
}

fn aligned<const N: usize>(cells: &[impl AsRef<str>; N], widths: &[usize; N]) -> String {
    let padded = cells.iter().zip(widths).map(|(cell, width)| format!("{:width$}", cell.as_ref()));
    padded.collect::<Vec<_>>().join("  ").trim_end().to_owned()
}

/// The text without characters that would move the cursor or colour the terminal.
pub(super) fn printable(text: &str) -> String {
    let shown = |character: char| {
        if character.is_control() { character.escape_default().to_string() } else { character.to_string() }
    };
    text.chars().map(shown).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::tests::CapturedOutput;

    #[test]
    fn columns_are_aligned_and_control_characters_escaped() {
        let captured = CapturedOutput::default();
        let mut out = captured.output();
        let mut table = Table::new(["A", "LONG"]);
        table.print(&mut out).unwrap();
        table.row(["é\u{1b}[31m".to_owned(), "x".to_owned()]);
        table.row(["b".to_owned(), String::new()]);
        table.print(&mut out).unwrap();
        table.row(["c".to_owned(), "much longer".to_owned()]);
        table.print(&mut out).unwrap();
        assert_eq!(captured.text(), "A            LONG\né\\u{1b}[31m  x\nb\nc            much longer\n");
    }
}

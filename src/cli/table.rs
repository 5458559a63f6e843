//! Lists of records: aligned columns for people (by `comfy-table`), or one JSON object per line.

use comfy_table::{ColumnConstraint, Table as Layout, Width, presets};
use serde::Serialize;

use super::error::CliResult;
use super::output::Output;

/// The space between two columns.
const GAP: u16 = 2;

/// Records that are printed page by page. JSON is printed at once; rows wait for the end of their page, whose
/// widest cells determine the column widths. Columns never become narrower on later pages.
pub(super) struct Table<const N: usize> {
    /// What the records are, such as `users`.
    noun: &'static str,
    json: bool,
    /// Until it is printed.
    header: Option<[&'static str; N]>,
    rows: Vec<[String; N]>,
    widths: [u16; N],
}

impl<const N: usize> Table<N> {
    pub(super) fn new(noun: &'static str, header: [&'static str; N], json: bool) -> Self {
        Self { noun, json, header: Some(header), rows: Vec::new(), widths: [0; N] }
    }

    pub(super) fn add<T: Serialize>(
        &mut self,
        record: &T,
        cells: impl FnOnce(&T) -> [String; N],
        out: &mut Output,
    ) -> CliResult {
        if self.json {
            return out.json(record);
        }
        self.add_row(cells(record));
        Ok(())
    }

    pub(super) fn add_row(&mut self, cells: [String; N]) {
        self.rows.push(cells.map(|cell| printable(&cell)));
    }

    /// Prints the waiting rows, with the header before the first of all.
    pub(super) fn print_page(&mut self, out: &mut Output) -> CliResult {
        if self.rows.is_empty() {
            return Ok(());
        }
        let mut layout = Layout::new();
        layout.load_style(presets::NOTHING);
        if let Some(header) = self.header.take() {
            layout.set_header(header);
        }
        layout.add_rows(self.rows.drain(..));
        for (column, width) in layout.column_iter_mut().zip(self.widths) {
            column
                .set_padding((0, GAP))
                .set_constraint(ColumnConstraint::LowerBoundary(Width::Fixed(width + GAP)));
        }
        for (width, of_page) in self.widths.iter_mut().zip(layout.column_max_content_widths()) {
            *width = of_page.max(*width);
        }
        out.line(&layout.trim_fmt())
    }

    /// Prints the last page, or, for people, that there are no records at all.
    pub(super) fn finish(mut self, out: &mut Output) -> CliResult {
        self.print_page(out)?;
        match self.header {
            Some(_) if !self.json => out.line(&format!("no {}", self.noun)),
            _ => Ok(()),
        }
    }
}

/// The text with control characters escaped, which would move the cursor or colour the terminal.
pub(super) fn printable(text: &str) -> String {
    let escape = |character: char| {
        if character.is_control() { character.escape_default().to_string() } else { character.to_string() }
    };
    text.chars().map(escape).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::tests::CapturedOutput;

    #[test]
    fn columns_are_aligned_and_control_characters_escaped() {
        let captured = CapturedOutput::default();
        let mut out = captured.output();
        let mut table = Table::new("records", ["A", "LONG"], false);
        table.print_page(&mut out).unwrap();
        for page in [&[["é\u{1b}[31m", "x"], ["b", ""]][..], &[["c", "much longer"]]] {
            for record in page {
                table.add(record, |cells| cells.map(str::to_owned), &mut out).unwrap();
            }
            table.print_page(&mut out).unwrap();
        }
        table.finish(&mut out).unwrap();
        assert_eq!(captured.text(), "A            LONG\né\\u{1b}[31m  x\nb\nc            much longer\n");
    }

    #[test]
    fn empty_table_says_so_unless_it_is_json() {
        for (json, text) in [(false, "no webhooks\n"), (true, "")] {
            let captured = CapturedOutput::default();
            Table::new("webhooks", ["ID"], json).finish(&mut captured.output()).unwrap();
            assert_eq!(captured.text(), text);
        }
    }
}

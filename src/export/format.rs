//! Renders events as JSON lines or CSV rows.

use base64::prelude::{BASE64_URL_SAFE_NO_PAD, Engine};
use clap::ValueEnum;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use store::canonical::{canonical_event, rfc3339};
use store::merkle::leaf_hash;
use store::{Corruption, PersonalData, StoreError, StoredEvent};

use super::csv_row::csv_row;
use crate::cloud_event::disclosed_personal;

/// The format of an export.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum ExportFormat {
    /// One JSON object per line, with everything needed to verify it offline.
    Jsonl,
    /// A table for spreadsheets (RFC 4180). It cannot be verified.
    Csv,
}

/// The columns of the CSV format. Personal values that most tools need have their own column.
const COLUMNS: [&str; 13] = [
    "position",
    "time",
    "type",
    "stream",
    "version",
    "schema",
    "actor",
    "request_id",
    "email",
    "username",
    "reason",
    "erased",
    "data",
];

impl ExportFormat {
    /// The line before the first event, if the format has one.
    ///
    /// # Errors
    /// [`StoreError`] if it cannot be rendered.
    pub fn header(self) -> Result<String, StoreError> {
        match self {
            Self::Jsonl => Ok(String::new()),
            Self::Csv => safe_csv_row(COLUMNS.map(str::to_owned)),
        }
    }

    /// Renders an event as a line with its terminator.
    ///
    /// # Errors
    /// [`StoreError::Corrupt`] if the event does not match its leaf hash.
    pub fn line(self, event: &StoredEvent) -> Result<String, StoreError> {
        match self {
            Self::Jsonl => json_line(event),
            Self::Csv => safe_csv_row(csv_cells(event)),
        }
    }
}

/// The line embeds the canonical event byte for byte, as hashed. The fields beside it are not covered by the
/// hash.
fn json_line(event: &StoredEvent) -> Result<String, StoreError> {
    let position = event.envelope.position;
    let corrupt = |error: &dyn std::fmt::Display| {
        StoreError::from(Corruption::invalid(format!("the event at position {position}"), error))
    };
    let canonical = canonical_event(&event.envelope).map_err(|error| corrupt(&error))?;
    if leaf_hash(&canonical) != event.envelope.leaf {
        return Err(Corruption::LeafMismatch { position }.into());
    }
    let canonical = String::from_utf8(canonical).map_err(|error| corrupt(&error))?;
    let leaf = BASE64_URL_SAFE_NO_PAD.encode(event.envelope.leaf);
    let beside = match (disclosed_personal(event), &event.personal) {
        (_, PersonalData::Erased) => ",\"erased\":true".to_owned(),
        (personal, _) if personal.is_empty() => String::new(),
        (personal, _) => format!(",\"personal\":{}", Value::Object(personal)),
    };
    Ok(format!("{{\"event\":{canonical},\"leaf\":\"{leaf}\"{beside}}}\n"))
}

fn csv_cells(event: &StoredEvent) -> [String; COLUMNS.len()] {
    let envelope = &event.envelope;
    let mut personal = disclosed_personal(event);
    let mut data = envelope.data.clone();
    let mut named = |name: &str| {
        let value = personal.remove(name).or_else(|| data.remove(name));
        value.map(|value| value.as_str().map_or_else(|| value.to_string(), str::to_owned)).unwrap_or_default()
    };
    let [email, username, reason] = ["email", "username", "reason"].map(&mut named);
    let erased = if matches!(event.personal, PersonalData::Erased) { "true" } else { "" };
    [
        envelope.position.to_string(),
        rfc3339(envelope.at),
        envelope.event_type.clone(),
        envelope.stream.to_string(),
        envelope.version.to_string(),
        envelope.schema.to_string(),
        envelope.actor.clone(),
        envelope.request_id.clone(),
        email,
        username,
        reason,
        erased.to_owned(),
        remaining_data(data),
    ]
}

fn remaining_data(data: Map<String, Value>) -> String {
    if data.is_empty() { String::new() } else { Value::Object(data).to_string() }
}

fn safe_csv_row(cells: [String; COLUMNS.len()]) -> Result<String, StoreError> {
    csv_row(cells.map(|cell| escape_formula(&cell)))
        .map_err(|error| StoreError::unavailable("rendering a CSV row", error))
}

/// Prevents CSV injection (OWASP): puts a `'` before every character that a spreadsheet would take for the
/// start of a formula, also in spreadsheets that separate cells by semicolon, tab or bar.
fn escape_formula(cell: &str) -> String {
    let begins = |character: char| matches!(character, '=' | '+' | '-' | '@' | '＝' | '＋' | '－' | '＠');
    let is_skipped = |character: char| character.is_whitespace() || character == '"';
    let mut safe = String::with_capacity(cell.len());
    if cell.starts_with(['\t', '\r', '\n']) || cell.trim_start_matches(is_skipped).starts_with(begins) {
        safe.push('\'');
    }
    let mut is_at_start = false;
    for character in cell.chars() {
        if is_at_start && begins(character) {
            safe.push('\'');
        }
        // Skipped characters do not end the start of a cell.
        let separates = matches!(character, ';' | '|' | '\t' | '\r' | '\n');
        is_at_start = separates || is_at_start && is_skipped(character);
        safe.push(character);
    }
    safe
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn csv_formulas_are_escaped() {
        for formula in
            ["=1+1", "+1", "-1", "@SUM(A1)", "\ta", "\ra", "\na", "  =1", "＝1", "\u{a0}@x", "\"=1"]
        {
            assert_eq!(escape_formula(formula), format!("'{formula}"), "{formula:?}");
        }
        for (formula, safe) in [
            ("a;=1", "a;'=1"),
            ("a; \"=1\"", "a; \"'=1\""),
            ("a\t@x;+1", "a\t'@x;'+1"),
            ("a\n-1", "a\n'-1"),
            ("a|=1", "a|'=1"),
            ("\t=1", "'\t'=1"),
            ("\r=1", "'\r'=1"),
            ("\n=1", "'\n'=1"),
        ] {
            assert_eq!(escape_formula(formula), safe);
        }
        for plain in
            ["", "ada", "a=1", "1-1", "{\"a\":1}", "2031-03-01T10:00:00.000Z", "a;b", "a b-c", "a;b=1"]
        {
            assert_eq!(escape_formula(plain), plain);
        }
    }
}

//! Users in a CSV file (RFC 4180), whose first line names the columns. An empty cell counts as absent.

use std::collections::BTreeSet;
use std::io::Read;

use async_trait::async_trait;
use csv::{ByteRecord, Reader, ReaderBuilder, StringRecord};
use serde_json::{Map, Value};
use tokio::task::block_in_place;

use super::error::ImportError;
use super::newlines::NewlineIndex;
use super::origin::RecordOrigin;
use super::refusal::NoticeReason;
use super::source::{RecordSource, SourceRecord};

/// Columns without which no user can be imported.
const REQUIRED: [&str; 2] = ["email", "username"];

/// Reads a CSV file.
pub struct CsvFile<R> {
    reader: Reader<NewlineIndex<R>>,
    columns: Vec<String>,
}

impl<R: Read + Send> CsvFile<R> {
    /// Reads the names of the columns.
    ///
    /// # Errors
    /// [`ImportError::MissingColumn`] if one that each user needs is missing.
    pub fn new(reader: R) -> Result<Self, ImportError> {
        let mut reader = ReaderBuilder::new().flexible(true).from_reader(NewlineIndex::new(reader));
        let names = match reader.headers().cloned() {
            Ok(names) => names,
            Err(_) if reader.get_ref().is_too_long() => return Err(ImportError::HeaderTooLong),
            Err(error) => return Err(std::io::Error::from(error).into()),
        };
        let columns: Vec<_> = names.iter().map(|name| name.trim().to_ascii_lowercase()).collect();
        if let Some(missing) = REQUIRED.into_iter().find(|name| !columns.iter().any(|column| column == name))
        {
            return Err(ImportError::MissingColumn(missing));
        }
        let mut seen = BTreeSet::new();
        if let Some(twice) = columns.iter().find(|name| !seen.insert(name.as_str())) {
            return Err(ImportError::RepeatedColumn(twice.clone()));
        }
        Ok(Self { reader, columns })
    }

    fn next_record(&mut self) -> Result<Option<SourceRecord>, ImportError> {
        let mut record = ByteRecord::new();
        let start = self.reader.position().byte();
        self.reader.get_mut().begin_record(start);
        match self.reader.read_byte_record(&mut record) {
            Ok(true) => {}
            Ok(false) => return Ok(None),
            Err(_) if self.reader.get_ref().is_too_long() => {
                let after_line = self.reader.get_mut().line_of(start.saturating_sub(1));
                return Err(ImportError::RecordTooLong { after_line });
            }
            Err(error) => return Err(std::io::Error::from(error).into()),
        }
        // The end is one byte behind the character that ends the record.
        let end = self.reader.position().byte().saturating_sub(1);
        let within = record.as_slice().iter().map(|byte| u64::from(*byte == b'\n')).sum::<u64>();
        let line = self.reader.get_mut().line_of(end).saturating_sub(within);
        Ok(Some(SourceRecord { origin: RecordOrigin::Line(line), fields: self.fields(record) }))
    }

    fn fields(&self, record: ByteRecord) -> Result<Map<String, Value>, NoticeReason> {
        let record = StringRecord::from_byte_record(record).map_err(|_| NoticeReason::NotUtf8)?;
        if record.len() != self.columns.len() {
            return Err(NoticeReason::CellCount { cells: record.len(), columns: self.columns.len() });
        }
        let cells = self.columns.iter().zip(&record).filter(|(_, cell)| !cell.is_empty());
        Ok(cells.map(|(column, cell)| (column.clone(), Value::from(cell))).collect())
    }
}

#[async_trait]
impl<R: Read + Send> RecordSource for CsvFile<R> {
    async fn next_batch(&mut self, limit: usize) -> Result<Vec<SourceRecord>, ImportError> {
        block_in_place(|| std::iter::from_fn(|| self.next_record().transpose()).take(limit).collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &[u8]) -> Vec<(RecordOrigin, Result<String, NoticeReason>)> {
        let mut file = CsvFile::new(text).unwrap();
        let records = std::iter::from_fn(|| file.next_record().unwrap());
        records
            .map(|record| (record.origin, record.fields.map(|fields| Value::Object(fields).to_string())))
            .collect()
    }

    #[test]
    fn records_are_read_with_quotes_and_line_breaks() {
        let text =
            "\u{FEFF}Email, username ,is_active\r\na@b.c,\"Ada, \"\"L\"\"\r\nx\",\r\n\r\nb@b.c,bob,t\r\n";
        let line = RecordOrigin::Line;
        assert_eq!(
            read(text.as_bytes()),
            [
                (line(2), Ok(r#"{"email":"a@b.c","username":"Ada, \"L\"\r\nx"}"#.to_owned())),
                (line(5), Ok(r#"{"email":"b@b.c","is_active":"t","username":"bob"}"#.to_owned())),
            ]
        );
    }

    #[test]
    fn lines_are_those_on_which_records_begin() {
        for (text, expected) in [
            ("email,username\na@b.c,a\nb@b.c,b", [2, 3]),
            ("email,username\r\na@b.c,a\r\nb@b.c,b\r\n", [2, 3]),
            ("\n\nemail,username\n\na@b.c,\"a\n\nx\"\n\n\nb@b.c,b\n", [5, 10]),
            ("email,username\r\n\r\na@b.c,\"a\r\nx\"\r\nb@b.c,\"\r\n\"", [3, 5]),
        ] {
            let found: Vec<_> = read(text.as_bytes()).into_iter().map(|(origin, _)| origin).collect();
            assert_eq!(found, expected.map(RecordOrigin::Line), "{text:?}");
        }
    }

    #[test]
    fn malformed_records_are_refused_and_the_next_ones_read() {
        let records = read(b"email,username\na@b.c\na@b.c,ada,x\n\xFF,b\nc@b.c,cy\n");
        let refused = |cells| Err(NoticeReason::CellCount { cells, columns: 2 });
        let results: Vec<_> = records.into_iter().map(|(_, fields)| fields).collect();
        assert_eq!(results.get(..3), Some(&[refused(1), refused(3), Err(NoticeReason::NotUtf8)][..]));
        assert!(results.get(3).is_some_and(Result::is_ok));
    }

    #[test]
    fn unclosed_quote_stops_the_import_at_its_line() {
        let rest = "b@b.c,bob\n".repeat(200_000);
        for (before, after_line) in [("a@b.c,a\n", 2), ("a@b.c,a\r\n", 2), ("a@b.c,\"a\n\"\na@b.c,a\n", 4)] {
            let text = format!("email,username\n{before}b@b.c,\"bob\n{rest}");
            let mut file = CsvFile::new(text.as_bytes()).unwrap();
            let error = std::iter::from_fn(|| file.next_record().transpose()).find_map(Result::err).unwrap();
            assert!(error.to_string().contains(&format!("after line {after_line} ")), "{error}");
        }
        assert!(matches!(
            CsvFile::new(format!("\"email\n{rest}").as_bytes()),
            Err(ImportError::HeaderTooLong)
        ));
        // Records may have a MiB altogether, and one of almost that length is read.
        let long = format!("email,username\na@b.c,\"{}\"\n{rest}", "x\n".repeat(500_000));
        assert_eq!(read(long.as_bytes()).len(), 200_001);
    }

    #[test]
    fn required_columns_are_named_once() {
        for (text, error) in [
            ("", "`email`"),
            ("email,password_hash\n", "`username`"),
            ("email,username,Email\n", "`email` twice"),
        ] {
            let refused = CsvFile::new(text.as_bytes()).err().unwrap().to_string();
            assert!(refused.contains(error), "{refused}");
        }
    }
}

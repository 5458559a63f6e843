//! Users in a file of JSON lines: one object per line, as this format's other names say (NDJSON, the output of
//! `mongoexport`).

use std::io::{BufRead, Read};

use async_trait::async_trait;
use serde_json::Value;
use tokio::task::block_in_place;

use super::error::ImportError;
use super::origin::RecordOrigin;
use super::refusal::NoticeReason;
use super::source::{RecordSource, SourceRecord};

/// A longer line is no record of a user.
const MAX_LINE_BYTES: u64 = 1024 * 1024;
const BYTE_ORDER_MARK: &[u8] = b"\xEF\xBB\xBF";

/// Reads a file of JSON lines.
pub struct JsonLines<R> {
    reader: R,
    line: u64,
    buffer: Vec<u8>,
}

impl<R: BufRead + Send> JsonLines<R> {
    pub fn new(reader: R) -> Self {
        Self { reader, line: 0, buffer: Vec::new() }
    }

    fn next_record(&mut self) -> Result<Option<SourceRecord>, ImportError> {
        loop {
            self.buffer.clear();
            let length = (&mut self.reader).take(MAX_LINE_BYTES).read_until(b'\n', &mut self.buffer)?;
            if length == 0 {
                return Ok(None);
            }
            self.line += 1;
            let origin = RecordOrigin::Line(self.line);
            if !self.buffer.ends_with(b"\n")
                && u64::try_from(length).is_ok_and(|length| length == MAX_LINE_BYTES)
            {
                skip_line(&mut self.reader)?;
                return Ok(Some(SourceRecord { origin, fields: Err(NoticeReason::LineTooLong) }));
            }
            let text = self.buffer.strip_prefix(BYTE_ORDER_MARK).filter(|_| self.line == 1);
            let text = text.unwrap_or(&self.buffer).trim_ascii();
            if !text.is_empty() {
                return Ok(Some(SourceRecord { origin, fields: parse(text) }));
            }
        }
    }
}

fn parse(text: &[u8]) -> Result<serde_json::Map<String, Value>, NoticeReason> {
    match serde_json::from_slice(text) {
        Ok(Value::Object(fields)) => Ok(fields),
        Ok(_) | Err(_) => Err(NoticeReason::NotAnObject),
    }
}

fn skip_line(reader: &mut impl BufRead) -> Result<(), ImportError> {
    loop {
        let chunk = reader.fill_buf()?;
        let end = chunk.iter().position(|byte| *byte == b'\n');
        let length = end.map_or(chunk.len(), |end| end + 1);
        reader.consume(length);
        if end.is_some() || length == 0 {
            return Ok(());
        }
    }
}

#[async_trait]
impl<R: BufRead + Send> RecordSource for JsonLines<R> {
    async fn next_batch(&mut self, limit: usize) -> Result<Vec<SourceRecord>, ImportError> {
        block_in_place(|| std::iter::from_fn(|| self.next_record().transpose()).take(limit).collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: impl AsRef<[u8]>) -> Vec<(RecordOrigin, Result<String, NoticeReason>)> {
        let mut lines = JsonLines::new(text.as_ref());
        let records = std::iter::from_fn(|| lines.next_record().unwrap());
        records
            .map(|record| (record.origin, record.fields.map(|fields| Value::Object(fields).to_string())))
            .collect()
    }

    #[test]
    fn each_line_is_an_object_and_empty_ones_are_passed_over() {
        let text = "\u{FEFF}{\"a\":1}\r\n\n  \n{\"b\":2}\n[]\nnonsense\n{\"c\":3}";
        let line = RecordOrigin::Line;
        assert_eq!(
            read(text),
            [
                (line(1), Ok("{\"a\":1}".to_owned())),
                (line(4), Ok("{\"b\":2}".to_owned())),
                (line(5), Err(NoticeReason::NotAnObject)),
                (line(6), Err(NoticeReason::NotAnObject)),
                (line(7), Ok("{\"c\":3}".to_owned())),
            ]
        );
    }

    #[test]
    fn overlong_line_is_refused_and_the_next_one_is_read() {
        let long = format!("{{\"a\":\"{}\"}}\n{{\"b\":2}}\n", "x".repeat(3 * 1024 * 1024));
        let expected = [
            (RecordOrigin::Line(1), Err(NoticeReason::LineTooLong)),
            (RecordOrigin::Line(2), Ok("{\"b\":2}".to_owned())),
        ];
        assert_eq!(read(long), expected);
    }

    #[test]
    fn invalid_utf_8_is_refused() {
        let records = read(b"{\"a\":\"\xFF\"}\n{}\n");
        assert_eq!(records.first().unwrap().1, Err(NoticeReason::NotAnObject));
        assert_eq!(records.len(), 2);
    }
}

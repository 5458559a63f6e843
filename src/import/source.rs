//! What a source yields: records with untyped fields, in the shape of JSON.

use std::io::{self, BufRead, Read};

use async_trait::async_trait;
use serde_json::{Map, Value};

use super::error::ImportError;
use super::origin::RecordOrigin;
use super::refusal::NoticeReason;

/// A record as read, or why it could not be read.
#[derive(Clone, Debug)]
pub struct SourceRecord {
    pub origin: RecordOrigin,
    pub fields: Result<Map<String, Value>, NoticeReason>,
}

/// Yields records in an order that is the same each time.
#[async_trait]
pub trait RecordSource: Send {
    /// The next records, at most `limit`; none at the end.
    ///
    /// # Errors
    /// [`ImportError`] if the source cannot be read further.
    async fn next_batch(&mut self, limit: usize) -> Result<Vec<SourceRecord>, ImportError>;
}

/// The number of lines, as an estimate of the number of records.
///
/// # Errors
/// If the file cannot be read.
pub fn count_lines(mut file: impl Read) -> io::Result<u64> {
    let (mut reader, mut lines) = (io::BufReader::with_capacity(1 << 20, &mut file), 0);
    loop {
        let chunk = reader.fill_buf()?;
        if chunk.is_empty() {
            return Ok(lines);
        }
        lines += chunk.iter().map(|byte| u64::from(*byte == b'\n')).sum::<u64>();
        let length = chunk.len();
        reader.consume(length);
    }
}

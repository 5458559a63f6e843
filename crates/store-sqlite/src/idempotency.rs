//! Recorded results of idempotency keys.

use rusqlite::{Connection, OptionalExtension, Transaction, params};
use store::idempotency::{RETENTION, expired_per_commit};
use store::key_store::ClaimHash;
use store::{Corruption, Position, RecordedResult};

use crate::columns::{row_limit, signed, stream_id, timestamp, unsigned};
use crate::error::SqliteError;

/// Deletes up to `?2` records of `?1` and before, the oldest first.
pub(crate) const DELETE_EXPIRED: &str = "DELETE FROM idempotency
     WHERE key IN (SELECT key FROM idempotency WHERE at <= ?1 ORDER BY at LIMIT ?2)";

/// The recorded result of a key.
pub(crate) fn read(connection: &Connection, key: ClaimHash) -> Result<Option<RecordedResult>, SqliteError> {
    let mut statement = connection
        .prepare_cached("SELECT request, stream, version, position, at FROM idempotency WHERE key = ?1")?;
    let stored = statement.query_row([key.as_bytes()], |row| {
        let request: Vec<u8> = row.get(0)?;
        Ok((request, row.get(1)?, row.get(2)?, row.get(3)?, row.get(4)?))
    });
    let Some((request, stream, version, position, at)) = stored.optional()? else { return Ok(None) };
    let request = ClaimHash::from_slice(&request);
    Ok(Some(RecordedResult {
        request: request.ok_or_else(|| Corruption::field("an idempotency record", "request", "32 bytes"))?,
        stream: stream_id(stream)?,
        version: unsigned(version, "the version of a recorded result")?,
        position: Position::new(unsigned(position, "the position of a recorded result")?),
        at: timestamp(at)?,
    }))
}

/// Records results and deletes some of the expired ones.
pub(crate) fn write(
    transaction: &Transaction<'_>,
    results: &[(ClaimHash, RecordedResult)],
) -> Result<(), SqliteError> {
    let Some((_, newest)) = results.last() else { return Ok(()) };
    let mut delete_expired = transaction.prepare_cached(DELETE_EXPIRED)?;
    let expired = newest.at.as_millisecond() - retention_milliseconds();
    delete_expired.execute(params![expired, row_limit(expired_per_commit(results.len()))])?;
    let mut insert = transaction.prepare_cached(
        "INSERT OR REPLACE INTO idempotency (key, request, stream, version, position, at)
         VALUES (?1, ?2, ?3, ?4, ?5, ?6)",
    )?;
    for (key, RecordedResult { request, stream, version, position, at }) in results {
        let version = signed(*version);
        let (position, at) = (position.to_i64(), at.as_millisecond());
        insert.execute(params![
            key.as_bytes(),
            request.as_bytes(),
            stream.as_str(),
            version,
            position,
            at
        ])?;
    }
    Ok(())
}

fn retention_milliseconds() -> i64 {
    i64::try_from(RETENTION.as_millis()).unwrap_or(i64::MAX)
}

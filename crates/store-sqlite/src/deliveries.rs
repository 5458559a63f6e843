//! Delivery cursors and recent delivery attempts of webhooks.

use async_trait::async_trait;
use rusqlite::{Connection, OptionalExtension, Transaction, TransactionBehavior, params};
use serde_json::Value;
use store::deliveries::{
    Attempt, DeliveryProgress, DeliveryRecord, DeliveryStore, MAX_STORED_ATTEMPTS, number_attempts,
};
use store::key_store::KeyEntry;
use store::{Corruption, StoreError, StreamId};

use crate::columns::{row_limit, signed, unsigned};
use crate::error::SqliteError;
use crate::key_store::{vault_entry, vault_statement};
use crate::relaxed_durability::RelaxedDurability;
use crate::sqlite_store::SqliteStore;
use crate::transaction::begin;

#[async_trait]
impl DeliveryStore for SqliteStore {
    async fn progress(&self, stream: &StreamId) -> Result<Option<DeliveryProgress>, StoreError> {
        let stream = stream.clone();
        self.read(move |connection| read_progress(connection, &stream)).await
    }

    async fn record_all(&self, records: &[DeliveryRecord]) -> Result<Vec<bool>, StoreError> {
        let records = records.to_vec();
        // If a power failure undoes the commit, the events are delivered again.
        self.write(move |connection| record_all(&*RelaxedDurability::new(connection)?, &records)).await
    }

    async fn attempts(
        &self,
        stream: &StreamId,
        below: Option<u64>,
        limit: usize,
    ) -> Result<Vec<Attempt>, StoreError> {
        let stream = stream.clone();
        self.read(move |connection| read_attempts(connection, &stream, below, limit)).await
    }

    async fn forget(&self, stream: &StreamId) -> Result<(), StoreError> {
        let stream = stream.clone();
        self.write(move |connection| {
            let transaction = begin(connection)?;
            delete(&transaction, &stream)?;
            Ok(transaction.commit()?)
        })
        .await
    }
}

/// Deletes the cursor and the attempts of a stream.
pub(crate) fn delete(transaction: &Transaction<'_>, stream: &StreamId) -> Result<(), SqliteError> {
    for table in ["delivery_progress", "delivery_attempts"] {
        let mut delete = transaction.prepare_cached(&format!("DELETE FROM {table} WHERE stream = ?1"))?;
        delete.execute([stream.as_str()])?;
    }
    Ok(())
}

fn read_progress(
    connection: &Connection,
    stream: &StreamId,
) -> Result<Option<DeliveryProgress>, SqliteError> {
    let sql = "SELECT revision, attempts, state FROM delivery_progress WHERE stream = ?1";
    let mut statement = connection.prepare_cached(sql)?;
    let stored = statement.query_row([stream.as_str()], |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?)));
    let Some((revision, attempts, state)): Option<(i64, i64, String)> = stored.optional()? else {
        return Ok(None);
    };
    Ok(Some(DeliveryProgress {
        revision: unsigned(revision, "the revision of a delivery cursor")?,
        attempts: unsigned(attempts, "a number of attempts")?,
        state: parse(stream, &state)?,
    }))
}

fn record_all(connection: &Connection, records: &[DeliveryRecord]) -> Result<Vec<bool>, SqliteError> {
    let transaction = Transaction::new_unchecked(connection, TransactionBehavior::Immediate)?;
    let written = records.iter().map(|record_of_one| record(&transaction, record_of_one));
    let written = written.collect::<Result<_, _>>()?;
    transaction.commit()?;
    Ok(written)
}

/// Whether the expected revision was stored.
fn record(
    transaction: &Transaction<'_>,
    DeliveryRecord { stream, to, reports }: &DeliveryRecord,
) -> Result<bool, SqliteError> {
    let stored = read_progress(transaction, stream)?.map_or(0, |progress| progress.revision);
    // The commit that erases a stream deletes its cursor, which must not come back.
    let is_erased = vault_entry(&mut vault_statement(transaction)?, stream)? == Some(KeyEntry::Erased);
    if is_erased || stored + 1 != to.revision {
        return Ok(false);
    }
    let name = stream.as_str();
    let sql = "INSERT OR REPLACE INTO delivery_progress (stream, revision, attempts, state)
               VALUES (?1, ?2, ?3, ?4)";
    let mut put = transaction.prepare_cached(sql)?;
    put.execute(params![name, signed(to.revision), signed(to.attempts), to.state.to_string()])?;
    // After a cursor was lost its attempts are still there, and their numbers are used again.
    if let Some((first, _)) = number_attempts(to, reports).next() {
        let sql = "DELETE FROM delivery_attempts WHERE stream = ?1 AND number >= ?2";
        transaction.prepare_cached(sql)?.execute(params![name, signed(first)])?;
    }
    let sql = "INSERT INTO delivery_attempts (stream, number, report) VALUES (?1, ?2, ?3)";
    let mut insert = transaction.prepare_cached(sql)?;
    for (number, report) in number_attempts(to, reports) {
        insert.execute(params![name, signed(number), report.to_string()])?;
    }
    let sql = "DELETE FROM delivery_attempts WHERE stream = ?1 AND number <= ?2";
    transaction
        .prepare_cached(sql)?
        .execute(params![name, signed(to.attempts.saturating_sub(MAX_STORED_ATTEMPTS))])?;
    Ok(true)
}

fn read_attempts(
    connection: &Connection,
    stream: &StreamId,
    below: Option<u64>,
    limit: usize,
) -> Result<Vec<Attempt>, SqliteError> {
    let sql = "SELECT number, report FROM delivery_attempts WHERE stream = ?1 AND number < ?2
               ORDER BY number DESC LIMIT ?3";
    let mut statement = connection.prepare_cached(sql)?;
    let below = below.map_or(i64::MAX, signed);
    let found = statement.query_map(params![stream.as_str(), below, row_limit(limit)], |row| {
        Ok((row.get::<_, i64>(0)?, row.get::<_, String>(1)?))
    })?;
    found
        .map(|row| {
            let (number, report) = row?;
            Ok(Attempt {
                number: unsigned(number, "the number of an attempt")?,
                report: parse(stream, &report)?,
            })
        })
        .collect()
}

fn parse(stream: &StreamId, json: &str) -> Result<Value, SqliteError> {
    serde_json::from_str(json)
        .map_err(|error| Corruption::invalid(format!("a delivery record of {stream}"), error).into())
}

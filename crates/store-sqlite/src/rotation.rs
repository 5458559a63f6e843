//! Counts, reads and replaces wrapped keys during a rotation of the master key (KEK).

use std::collections::BTreeMap;

use async_trait::async_trait;
use rusqlite::{Connection, params};
use store::key_store::{KeyId, MasterKey, WRAPPED_BYTES};
use store::rotation::{KeyReplacement, WrappedKey, WrappedKeyStore};
use store::{StoreError, StreamId, WriteError};

use crate::columns::{row_limit, stream_id};
use crate::error::SqliteError;
use crate::key_store::service_keys;
use crate::sqlite_store::SqliteStore;
use crate::transaction::{begin, commit};

#[async_trait]
impl WrappedKeyStore for SqliteStore {
    async fn service_keys(&self) -> Result<BTreeMap<String, Vec<u8>>, StoreError> {
        self.read(service_keys).await
    }

    async fn count_keys(&self, _: &[KeyId]) -> Result<BTreeMap<Option<KeyId>, u64>, StoreError> {
        self.read(count).await
    }

    async fn wrapped_keys(
        &self,
        after: Option<&StreamId>,
        limit: usize,
    ) -> Result<Vec<WrappedKey>, StoreError> {
        let after = after.cloned();
        self.read(move |connection| wrapped(connection, after.as_ref(), limit)).await
    }

    async fn replace_keys(&self, changes: &[KeyReplacement]) -> Result<u64, StoreError> {
        let changes = changes.to_vec();
        self.write(move |connection| replace(connection, &changes)).await
    }

    async fn add_service_key(&self, name: &str, wrapped: &[u8]) -> Result<(), WriteError> {
        let (name, wrapped) = (name.to_owned(), wrapped.to_vec());
        let added = self.write(move |connection| {
            let transaction = begin(connection)?;
            let sql = "INSERT INTO keys (name, wrapped) VALUES (?1, ?2) ON CONFLICT DO NOTHING";
            let added = transaction.execute(sql, params![name, wrapped])?;
            commit(&transaction)?;
            Ok(added > 0)
        });
        if added.await? { Ok(()) } else { Err(WriteError::Conflict) }
    }

    async fn replace_service_key(&self, name: &str, from: &[u8], to: &[u8]) -> Result<(), WriteError> {
        let (name, from, to) = (name.to_owned(), from.to_vec(), to.to_vec());
        let replaced = self.write(move |connection| {
            // Holds the write lock like an append, so each append happens entirely before or after it.
            let transaction = begin(connection)?;
            let sql = "UPDATE keys SET wrapped = ?3 WHERE name = ?1 AND wrapped = ?2";
            let replaced = transaction.execute(sql, params![name, from, to])?;
            commit(&transaction)?;
            Ok(replaced > 0)
        });
        if replaced.await? { Ok(()) } else { Err(WriteError::Conflict) }
    }
}

/// Counts row by row: `GROUP BY` would sort all keys in memory.
fn count(connection: &Connection) -> Result<BTreeMap<Option<KeyId>, u64>, SqliteError> {
    let mut statement = connection.prepare_cached("SELECT key FROM vault WHERE key IS NOT NULL")?;
    let mut rows = statement.query([])?;
    let mut counts = BTreeMap::new();
    while let Some(row) = rows.next()? {
        let wrapped = row.get_ref(0)?.as_blob()?;
        let master = MasterKey::id_of(wrapped).filter(|_| wrapped.len() == WRAPPED_BYTES);
        *counts.entry(master).or_default() += 1;
    }
    Ok(counts)
}

fn wrapped(
    connection: &Connection,
    after: Option<&StreamId>,
    limit: usize,
) -> Result<Vec<WrappedKey>, SqliteError> {
    let mut statement = connection.prepare_cached(
        "SELECT stream, key FROM vault WHERE stream > ?1 AND key IS NOT NULL ORDER BY stream LIMIT ?2",
    )?;
    let mut rows = statement.query(params![after.map_or("", StreamId::as_str), row_limit(limit)])?;
    let mut found = Vec::new();
    while let Some(row) = rows.next()? {
        found.push((stream_id(row.get(0)?)?, row.get(1)?));
    }
    Ok(found)
}

fn replace(connection: &mut Connection, changes: &[KeyReplacement]) -> Result<u64, SqliteError> {
    let transaction = begin(connection)?;
    let mut replaced = 0;
    {
        let mut statement =
            transaction.prepare_cached("UPDATE vault SET key = ?3 WHERE stream = ?1 AND key = ?2")?;
        for KeyReplacement { stream, from, to } in changes {
            replaced += statement.execute(params![stream.as_str(), from, to])?;
        }
    }
    commit(&transaction)?;
    Ok(u64::try_from(replaced).unwrap_or(u64::MAX))
}

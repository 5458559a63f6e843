//! Row authentication: every row of a read model carries a message authentication code (MAC), so that a row
//! which was edited in the database is refused instead of believed.
//!
//! The code, in the column [`MAC`], is HMAC-SHA-256 over the table, the key and the digest of all columns, the
//! position of the row's last event among them. The projector computes that digest anyway, for the digest of the
//! table, so a code costs little. Earlier codes, over the columns themselves, stay valid. A table without that column belongs to a projection version of an
//! earlier release; its rows pass unchecked here, and readers compare them with the log. An old but authentic
//! row passes too: what its version and position reveal is for the reader to check.

use std::collections::HashMap;
use std::sync::Arc;

use async_trait::async_trait;
use serde_json::Value;

use crate::error::{Corruption, StoreError, WriteError};
use crate::key_store::ClaimKey;
use crate::mac::{MacKey, push_bytes, push_value};
use crate::metrics::TamperingCounter;
use crate::rows::{
    Column, ColumnKind, PrefixQuery, ProjectionCheckpoint, ReadModelStore, Row, RowPage, Table, TableSchema,
    TableWrite,
};
use crate::rows_digest::RowsDigest;
use crate::versions::ProjectionVersions;

/// The column of the code, the last one of a table.
pub const MAC: Column = Column { name: "mac", kind: ColumnKind::Text };
/// Rows whose codes are computed before other tasks run.
const YIELD_INTERVAL: usize = 256;

impl TableSchema {
    /// Whether its rows carry a code.
    #[must_use]
    pub fn is_authenticated(&self) -> bool {
        self.columns.last() == Some(&MAC)
    }
}

/// The columns without the last one, that of the code: those of the tables of earlier releases.
#[must_use]
pub const fn without_mac(columns: &'static [Column]) -> &'static [Column] {
    match columns.split_last() {
        Some((_, others)) => others,
        None => &[],
    }
}

/// The key of the codes.
#[derive(Clone)]
pub(crate) struct RowKey(MacKey);

impl RowKey {
    pub(crate) fn derive(claims: &ClaimKey) -> Self {
        Self(MacKey::derive(claims, "row-authentication-key"))
    }

    /// The code of a row. `buffer` is only there to be reused.
    fn mac(&self, table: &Table, key: &str, digest: RowsDigest, buffer: &mut Vec<u8>) -> String {
        encode(table, key, digest, buffer);
        self.0.sign(buffer)
    }

    /// Whether a row that was read carries its code. Removes the code.
    fn is_authentic(&self, table: &Table, row: &mut Row, buffer: &mut Vec<u8>) -> bool {
        let Some(Value::String(stored)) = row.remove(MAC.name) else { return false };
        let key = row.get(table.key()).and_then(Value::as_str).unwrap_or_default();
        encode(table, key, RowsDigest::of(row), buffer);
        if self.0.is_code_of(&stored, buffer) {
            return true;
        }
        encode_columns(table, key, row, buffer);
        self.0.is_code_of(&stored, buffer)
    }
}

/// Encodes what the code of a row covers.
fn encode(table: &Table, key: &str, digest: RowsDigest, buffer: &mut Vec<u8>) {
    buffer.clear();
    push_bytes(buffer, b"row digest");
    push_bytes(buffer, table.name.as_bytes());
    push_bytes(buffer, key.as_bytes());
    push_bytes(buffer, &digest.to_bytes());
}

/// Encodes what an earlier code of a row covers.
fn encode_columns(table: &Table, key: &str, row: &Row, buffer: &mut Vec<u8>) {
    buffer.clear();
    push_bytes(buffer, b"row");
    push_bytes(buffer, table.name.as_bytes());
    push_bytes(buffer, key.as_bytes());
    let columns = table.schema.columns.iter().skip(1).filter(|column| **column != MAC);
    for Column { name, .. } in columns {
        if let Some(value) = row.get(*name).filter(|value| !value.is_null()) {
            push_bytes(buffer, name.as_bytes());
            push_value(buffer, value);
        }
    }
}

/// The read models of a database, with row authentication.
pub(crate) struct AuthenticatedRows {
    inner: Arc<dyn ReadModelStore>,
    key: RowKey,
    tampering: TamperingCounter,
}

impl AuthenticatedRows {
    pub(crate) fn new(inner: Arc<dyn ReadModelStore>, key: RowKey, tampering: TamperingCounter) -> Self {
        Self { inner, key, tampering }
    }

    /// Checks the codes of rows and removes them.
    fn check<'a>(&self, table: &Table, rows: impl Iterator<Item = &'a mut Row>) -> Result<(), StoreError> {
        if !table.schema.is_authenticated() {
            return Ok(());
        }
        let mut buffer = Vec::new();
        for row in rows {
            if !self.key.is_authentic(table, row, &mut buffer) {
                let key = row.get(table.key()).and_then(Value::as_str).unwrap_or_default().to_owned();
                return Err(self.tampering.row_tampered(&table.name, &key));
            }
        }
        Ok(())
    }

    fn checked(&self, table: &Table, mut page: RowPage) -> Result<RowPage, StoreError> {
        self.check(table, page.rows.iter_mut())?;
        Ok(page)
    }

    /// Adds the codes to the rows that are written, unless they have them.
    async fn sign(&self, write: &mut TableWrite) {
        if !write.table.schema.is_authenticated() {
            return;
        }
        let mut buffer = Vec::new();
        for (done, change) in write.changes.iter_mut().enumerate() {
            if let Some(row) = &mut change.row
                && !row.contains_key(MAC.name)
            {
                let digest = change.digest.unwrap_or_else(|| RowsDigest::of(row));
                let mac = self.key.mac(&write.table, &change.key, digest, &mut buffer);
                row.insert(MAC.name.to_owned(), mac.into());
            }
            if done % YIELD_INTERVAL == YIELD_INTERVAL - 1 {
                tokio::task::yield_now().await;
            }
        }
    }
}

#[async_trait]
impl ReadModelStore for AuthenticatedRows {
    async fn prepare(&self, table: &Table) -> Result<(), StoreError> {
        self.inner.prepare(table).await
    }

    async fn index(&self, table: &Table) -> Result<(), StoreError> {
        self.inner.index(table).await
    }

    async fn checkpoint(&self, table: &Table) -> Result<ProjectionCheckpoint, StoreError> {
        self.inner.checkpoint(table).await
    }

    async fn rows(&self, table: &Table, keys: &[String]) -> Result<HashMap<String, Row>, StoreError> {
        let mut rows = self.inner.rows(table, keys).await?;
        self.check(table, rows.values_mut())?;
        Ok(rows)
    }

    async fn find(&self, table: &Table, column: &'static str, text: &str) -> Result<RowPage, StoreError> {
        self.checked(table, self.inner.find(table, column, text).await?)
    }

    async fn row_page(
        &self,
        table: &Table,
        after: Option<&str>,
        limit: usize,
    ) -> Result<RowPage, StoreError> {
        self.checked(table, self.inner.row_page(table, after, limit).await?)
    }

    async fn sign_rows(&self, mut write: TableWrite) -> TableWrite {
        self.sign(&mut write).await;
        write
    }

    async fn prefix_page(&self, table: &Table, query: &PrefixQuery) -> Result<RowPage, StoreError> {
        self.checked(table, self.inner.prefix_page(table, query).await?)
    }

    async fn apply_all(&self, mut writes: Vec<TableWrite>) -> Result<(), WriteError> {
        for write in &mut writes {
            self.sign(write).await;
        }
        self.inner.apply_all(writes).await
    }

    async fn versions(&self, projection: &str) -> Result<Option<ProjectionVersions>, StoreError> {
        self.inner.versions(projection).await
    }

    async fn change_versions(
        &self,
        projection: &str,
        to: &ProjectionVersions,
        behind: Option<(&Table, &Table)>,
    ) -> Result<(), WriteError> {
        self.inner.change_versions(projection, to, behind).await
    }

    async fn remove(&self, table: &Table) -> Result<(), StoreError> {
        self.inner.remove(table).await
    }
}

impl TamperingCounter {
    /// Counts and logs a row that was changed, and returns the error for it.
    pub(crate) fn row_tampered(&self, table: &str, key: &str) -> StoreError {
        self.report("row", Corruption::RowTampered { table: table.to_owned(), key: key.to_owned() })
    }

    /// Counts and logs a row that was deleted, and returns the error for it.
    pub(crate) fn row_missing(&self, table: &str, key: &str) -> StoreError {
        self.report("row", Corruption::RowMissing { table: table.to_owned(), key: key.to_owned() })
    }

    /// Counts and logs a finding, and returns the error for it.
    pub(crate) fn report(&self, record: &'static str, finding: Corruption) -> StoreError {
        self.count(record);
        tracing::error!(code = finding.code(), "{finding}");
        finding.into()
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::memory::Memory;
    use crate::rows::RowChange;

    static SCHEMA: TableSchema = TableSchema {
        columns: &[
            Column { name: "id", kind: ColumnKind::Text },
            Column { name: "email", kind: ColumnKind::Text },
            Column { name: "active", kind: ColumnKind::Boolean },
            Column { name: "roles", kind: ColumnKind::TextList },
            Column { name: "position", kind: ColumnKind::Integer },
            MAC,
        ],
        indexes: &["email"],
    };

    fn row(value: &Value) -> Row {
        value.as_object().unwrap().clone()
    }

    fn ada() -> Row {
        row(&json!({"id": "u1", "email": "a@b", "active": true, "roles": ["auditor"], "position": 7}))
    }

    async fn fixture() -> (Arc<Memory>, AuthenticatedRows, Table) {
        let memory = Arc::new(Memory::default());
        let rows: Arc<dyn ReadModelStore> = memory.clone();
        let key = RowKey::derive(&ClaimKey::new(&[7; 32]));
        let rows = AuthenticatedRows::new(rows, key, TamperingCounter::default());
        let table = Table::of("users", 1, &SCHEMA);
        rows.prepare(&table).await.unwrap();
        write(&rows, &table, "u1", ada()).await;
        (memory, rows, table)
    }

    async fn write(rows: &dyn ReadModelStore, table: &Table, key: &str, row: Row) {
        let at = rows.checkpoint(table).await.unwrap();
        let change = RowChange { key: key.to_owned(), row: Some(row), digest: None, existed: false };
        rows.apply(table, at, at, vec![change]).await.unwrap();
    }

    #[tokio::test]
    async fn authentic_rows_are_returned_without_their_code() {
        let (_, rows, table) = fixture().await;
        assert_eq!(rows.find(&table, "email", "a@b").await.unwrap().rows, [ada()]);
        assert_eq!(rows.row_page(&table, None, 10).await.unwrap().rows, [ada()]);
        assert_eq!(rows.rows(&table, &["u1".to_owned()]).await.unwrap()["u1"], ada());
    }

    #[tokio::test]
    async fn every_changed_column_is_refused_by_every_read() {
        let changes = [
            ("email", json!("b@b")),
            ("active", json!(false)),
            ("active", Value::Null),
            ("roles", json!(["auditor", "admin"])),
            ("roles", json!([])),
            ("position", json!(8)),
            ("mac", json!("AAAAAAAAAAAAAAAAAAAAAA")),
            ("mac", Value::Null),
        ];
        for (column, value) in changes {
            let (memory, rows, table) = fixture().await;
            let mut stored = memory.row_page(&table, None, 1).await.unwrap().rows.remove(0);
            stored.insert(column.to_owned(), value.clone());
            write(&*memory, &table, "u1", stored).await;
            let refused = |result: Result<(), StoreError>| {
                let expected = Corruption::RowTampered { table: "users_1".into(), key: "u1".into() };
                let found = matches!(&result, Err(StoreError::Corrupt(found)) if *found == expected);
                assert!(found, "{column}: {value}: {result:?}");
            };
            refused(rows.find(&table, "id", "u1").await.map(drop));
            refused(rows.row_page(&table, None, 10).await.map(drop));
            refused(rows.rows(&table, &["u1".to_owned()]).await.map(drop));
            assert_eq!(rows.tampering.counted("row"), 3);
        }
    }

    #[tokio::test]
    async fn earlier_code_over_the_columns_is_accepted() {
        let (memory, rows, table) = fixture().await;
        let mut buffer = Vec::new();
        encode_columns(&table, "u1", &ada(), &mut buffer);
        let mut earlier = ada();
        earlier.insert(MAC.name.to_owned(), rows.key.0.sign(&buffer).into());
        write(&*memory, &table, "u1", earlier.clone()).await;
        assert_eq!(rows.find(&table, "id", "u1").await.unwrap().rows, [ada()]);
        earlier.insert("active".to_owned(), false.into());
        write(&*memory, &table, "u1", earlier).await;
        assert!(rows.find(&table, "id", "u1").await.is_err());
    }

    #[tokio::test]
    async fn given_digest_of_another_row_makes_no_authentic_row() {
        let (_, rows, table) = fixture().await;
        let at = rows.checkpoint(&table).await.unwrap();
        let digest = Some(RowsDigest::of(&row(&json!({"id": "u1", "active": false}))));
        let change = RowChange { key: "u1".to_owned(), row: Some(ada()), digest, existed: true };
        rows.apply(&table, at, at, vec![change]).await.unwrap();
        assert!(rows.find(&table, "id", "u1").await.is_err());
    }

    #[tokio::test]
    async fn row_of_another_key_or_table_is_refused() {
        let (memory, rows, table) = fixture().await;
        let mut copy = memory.row_page(&table, None, 1).await.unwrap().rows.remove(0);
        copy.insert("id".to_owned(), "u2".into());
        write(&*memory, &table, "u2", copy.clone()).await;
        assert!(rows.find(&table, "id", "u2").await.is_err());
        let other = Table::of("users", 2, &SCHEMA);
        rows.prepare(&other).await.unwrap();
        copy.insert("id".to_owned(), "u1".into());
        write(&*memory, &other, "u1", copy).await;
        assert!(rows.find(&other, "id", "u1").await.is_err());
        assert_eq!(rows.find(&table, "id", "u1").await.unwrap().rows, [ada()]);
    }
}

//! Leases for the leader election. They expire by the clock of the machine, which all processes of the file
//! share, but may have been wrong: a lease that would last for longer than a term is free.

use std::time::Duration;

use async_trait::async_trait;
use rusqlite::{Connection, Row, Transaction, TransactionBehavior, params};
use serde_json::Value;
use store::lease::{LEASE_SLACK, Lease, LeaseStore};
use store::{Corruption, StoreError};

use crate::error::{SqliteError, none_if_table_missing};
use crate::relaxed_durability::RelaxedDurability;
use crate::sqlite_store::SqliteStore;

/// SQL for the current time in milliseconds since the Unix epoch.
const NOW: &str = "CAST(unixepoch('subsec') * 1000 AS INTEGER)";

#[async_trait]
impl LeaseStore for SqliteStore {
    async fn acquire_lease(
        &self,
        name: &str,
        holder: &str,
        term: Duration,
        report: &Value,
    ) -> Result<Lease, StoreError> {
        let (name, holder, report) = (name.to_owned(), holder.to_owned(), report.to_string());
        let [term, slack] =
            [term, LEASE_SLACK].map(|time| i64::try_from(time.as_millis()).unwrap_or(i64::MAX));
        self.write(move |connection| {
            let connection = &*RelaxedDurability::new(connection)?;
            let transaction = Transaction::new_unchecked(connection, TransactionBehavior::Immediate)?;
            let sql = format!(
                "INSERT INTO leases (name, holder, until, report) VALUES (?1, ?2, {NOW} + ?3, ?4)
                 ON CONFLICT (name) DO UPDATE
                 SET holder = excluded.holder, until = excluded.until, report = excluded.report
                 WHERE leases.holder = excluded.holder
                    OR leases.until <= {NOW} OR leases.until > {NOW} + ?3 + ?5"
            );
            transaction.prepare_cached(&sql)?.execute(params![name, holder, term, report, slack])?;
            let held = read(&transaction, Some(&name))?.into_iter().next();
            transaction.commit()?;
            held.ok_or_else(|| Corruption::missing(format!("the lease `{name}`")).into())
        })
        .await
    }

    async fn release_lease(&self, name: &str, holder: &str, report: &Value) -> Result<(), StoreError> {
        let (name, holder, report) = (name.to_owned(), holder.to_owned(), report.to_string());
        self.write(move |connection| {
            let sql = "UPDATE leases SET until = 0, report = ?3 WHERE name = ?1 AND holder = ?2";
            let connection = &*RelaxedDurability::new(connection)?;
            connection.prepare_cached(sql)?.execute(params![name, holder, report])?;
            Ok(())
        })
        .await
    }

    async fn list_leases(&self) -> Result<Vec<Lease>, StoreError> {
        self.read(|connection| Ok(none_if_table_missing(read(connection, None))?.unwrap_or_default())).await
    }
}

/// The lease of this name, or all leases.
fn read(connection: &Connection, name: Option<&str>) -> Result<Vec<Lease>, SqliteError> {
    let sql = format!(
        "SELECT name, holder, max(until - {NOW}, 0), report FROM leases WHERE ?1 IS NULL OR name = ?1
         ORDER BY name"
    );
    let mut statement = connection.prepare_cached(&sql)?;
    let found = statement.query_map([name], |row| Ok(to_lease(row)))?;
    found.map(|lease| lease.map_err(SqliteError::from)?).collect()
}

fn to_lease(row: &Row<'_>) -> Result<Lease, SqliteError> {
    let (name, left, report): (String, i64, String) = (row.get(0)?, row.get(2)?, row.get(3)?);
    let report = serde_json::from_str(&report)
        .map_err(|error| Corruption::invalid(format!("the report of the lease `{name}`"), error))?;
    let left = Duration::from_millis(u64::try_from(left).unwrap_or_default());
    Ok(Lease { name, holder: row.get(1)?, remaining: left, report })
}

//! Read models of the reference backend.

use std::collections::{BTreeMap, HashMap};
use std::ops::{Bound, RangeBounds};
use std::sync::Arc;

use async_trait::async_trait;

use super::Memory;
use crate::error::{StoreError, WriteError};
use crate::rows::{
    PrefixQuery, ProjectionCheckpoint, ReadModelStore, Row, RowChange, RowPage, Table, TableWrite,
};
use crate::versions::ProjectionVersions;

#[async_trait]
impl ReadModelStore for Memory {
    async fn prepare(&self, table: &Table) -> Result<(), StoreError> {
        let mut state = self.state();
        let (checkpoint, _) = state.tables.entry(table.name.clone()).or_default();
        if checkpoint.is_removed() { Err(StoreError::table_removed(&table.name)) } else { Ok(()) }
    }

    async fn index(&self, _: &Table) -> Result<(), StoreError> {
        Ok(())
    }

    async fn checkpoint(&self, table: &Table) -> Result<ProjectionCheckpoint, StoreError> {
        Ok(self.state().tables.get(&table.name).map(|(checkpoint, _)| *checkpoint).unwrap_or_default())
    }

    async fn rows(&self, table: &Table, keys: &[String]) -> Result<HashMap<String, Row>, StoreError> {
        let state = self.state();
        let Some((_, rows)) = state.tables.get(&table.name) else { return Ok(HashMap::new()) };
        Ok(keys.iter().filter_map(|key| Some((key.clone(), rows.get(key)?.clone()))).collect())
    }

    async fn find(&self, table: &Table, column: &'static str, text: &str) -> Result<RowPage, StoreError> {
        let state = self.state();
        let Some((checkpoint, rows)) = state.tables.get(&table.name) else {
            return Ok(RowPage { head: state.head.position, ..RowPage::default() });
        };
        let has = |row: &&Row| row.get(column).and_then(|value| value.as_str()) == Some(text);
        let rows = rows.values().filter(has).take(100).cloned().collect();
        Ok(RowPage { checkpoint: *checkpoint, head: state.head.position, rows })
    }

    async fn row_page(
        &self,
        table: &Table,
        after: Option<&str>,
        limit: usize,
    ) -> Result<RowPage, StoreError> {
        let state = self.state();
        let Some((checkpoint, rows)) = state.tables.get(&table.name) else {
            return Ok(RowPage { head: state.head.position, ..RowPage::default() });
        };
        let above = |(key, _): &(&String, &Row)| after.is_none_or(|after| key.as_str() > after);
        let rows = rows.iter().filter(above).take(limit).map(|(_, row)| row.clone()).collect();
        Ok(RowPage { checkpoint: *checkpoint, head: state.head.position, rows })
    }

    async fn prefix_page(&self, table: &Table, query: &PrefixQuery) -> Result<RowPage, StoreError> {
        let state = self.state();
        let Some((checkpoint, rows)) = state.tables.get(&table.name) else {
            return Ok(RowPage { head: state.head.position, ..RowPage::default() });
        };
        let value = |row: &Row| row.get(query.column).and_then(|value| value.as_str()).map(str::to_owned);
        let upper = query.upper();
        let bounds = (query.lower(), upper.as_deref().map_or(Bound::Unbounded, Bound::Excluded));
        let within = |(value, _): &(String, &Row)| RangeBounds::<str>::contains(&bounds, value.as_str());
        let found: BTreeMap<_, _> =
            rows.values().filter_map(|row| Some((value(row)?, row))).filter(within).collect();
        let rows = found.into_values().take(query.limit).cloned().collect();
        Ok(RowPage { checkpoint: *checkpoint, head: state.head.position, rows })
    }

    async fn apply_all(&self, writes: Vec<TableWrite>) -> Result<(), WriteError> {
        for TableWrite { table, changes, .. } in &writes {
            changes.iter().filter_map(|change| change.row.as_ref()).try_for_each(|row| table.check(row))?;
        }
        let moved: Vec<_> = writes.iter().map(|write| (Arc::clone(&write.table.name), write.to)).collect();
        {
            let mut state = self.state();
            let is_at = |TableWrite { table, from, .. }: &TableWrite| {
                !from.is_removed() && state.tables.get(&table.name).is_some_and(|found| found.0 == *from)
            };
            if !writes.iter().all(is_at) {
                return Err(WriteError::Conflict);
            }
            for TableWrite { table, to, changes, .. } in writes {
                let (checkpoint, rows) = state.tables.entry(table.name).or_default();
                *checkpoint = to;
                for RowChange { key, row, .. } in changes {
                    match row {
                        // Null and absent are equal; absent is stored.
                        Some(row) => {
                            rows.insert(key, row.into_iter().filter(|(_, value)| !value.is_null()).collect())
                        }
                        None => rows.remove(&key),
                    };
                }
            }
        }
        for (table, to) in moved {
            self.tracker.advance_checkpoint(&table, to);
        }
        Ok(())
    }

    async fn versions(&self, projection: &str) -> Result<Option<ProjectionVersions>, StoreError> {
        let versions = self.state().versions.get(projection).cloned();
        if let Some(versions) = versions.clone() {
            self.tracker.advance_versions(projection, versions);
        }
        Ok(versions)
    }

    async fn change_versions(
        &self,
        projection: &str,
        to: &ProjectionVersions,
        behind: Option<(&Table, &Table)>,
    ) -> Result<(), WriteError> {
        {
            let mut state = self.state();
            let position =
                |table: &Table| state.tables.get(&table.name).map(|(checkpoint, _)| checkpoint.position);
            let late = behind.is_some_and(|(one, other)| position(one) < position(other));
            let revision = state.versions.get(projection).map_or(0, |versions| versions.revision);
            if late || revision + 1 != to.revision {
                return Err(WriteError::Conflict);
            }
            state.versions.insert(projection.to_owned(), to.clone());
        }
        self.tracker.advance_versions(projection, to.clone());
        Ok(())
    }

    async fn remove(&self, table: &Table) -> Result<(), StoreError> {
        self.tracker.unwatch(&table.name);
        let removed = (ProjectionCheckpoint::removed(), BTreeMap::new());
        self.state().tables.insert(table.name.clone(), removed);
        Ok(())
    }
}

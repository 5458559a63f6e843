//! Projection versions: changed by compare-and-set on their revision; a lagging version cannot be promoted.

use futures::future::join_all;

use super::harness::{Harness, TIMEOUT};
use super::rows::{at, change, prepared, things};
use crate::error::{StoreError, WriteError};
use crate::rows::ProjectionCheckpoint;
use crate::versions::ProjectionVersions;

/// Of concurrent changes one succeeds, and every process is notified.
pub async fn concurrent_version_changes_one_wins(harness: &Harness) {
    let handles = [prepared(harness).await, prepared(harness).await];
    assert_eq!(handles[0].rows.versions("things").await.unwrap(), None);
    let first = |who: usize| ProjectionVersions::first(1, &who.to_string(), harness.now());
    let changes: Vec<_> = (0..6).map(first).collect();
    let racers =
        changes.iter().enumerate().map(|(who, to)| handles[who % 2].rows.change_versions("things", to, None));
    let results = join_all(racers).await;
    let winner = results.iter().position(Result::is_ok).unwrap();
    let overtaken = results.iter().filter(|result| matches!(result, Err(WriteError::Conflict))).count();
    assert_eq!(overtaken, 5, "{results:?}");
    for handle in &handles {
        assert_eq!(handle.rows.versions("things").await.unwrap().as_ref(), Some(&changes[winner]));
    }
    let next = changes[winner].build(2, "test", harness.now()).unwrap();
    handles[0].rows.change_versions("things", &next, None).await.unwrap();
    let mut updates = handles[1].log.watch_progress();
    let heard =
        updates.wait_for(|progress| progress.versions.get("things").is_some_and(|known| **known == next));
    tokio::time::timeout(TIMEOUT, heard).await.unwrap().unwrap();
    let again = handles[1].rows.change_versions("things", &next, None).await;
    assert!(matches!(again, Err(WriteError::Conflict)), "{again:?}");
}

/// A version can be promoted only when it has reached the checkpoint of the live one.
pub async fn lagging_version_cannot_be_promoted(harness: &Harness) {
    let handle = prepared(harness).await;
    let rows = &handle.rows;
    let first = ProjectionVersions::first(1, "test", harness.now());
    let building = first.build(1, "test", harness.now()).unwrap();
    rows.change_versions("things", &first, None).await.unwrap();
    rows.change_versions("things", &building, None).await.unwrap();
    rows.apply(&things(1), at(0), at(5), vec![change("a", "one")]).await.unwrap();
    let promoted = building.promote(None).unwrap();
    let early = rows.change_versions("things", &promoted, Some((&things(2), &things(1)))).await;
    assert!(matches!(early, Err(WriteError::Conflict)), "{early:?}");
    assert_eq!(rows.versions("things").await.unwrap().as_ref(), Some(&building));
    rows.apply(&things(2), at(0), at(5), vec![change("a", "one")]).await.unwrap();
    rows.change_versions("things", &promoted, Some((&things(2), &things(1)))).await.unwrap();
    assert_eq!(rows.versions("things").await.unwrap().unwrap().live, 2);
}

/// A removed table is deleted permanently, and stale writers cannot write to it.
pub async fn removed_table_rejects_writes(harness: &Harness) {
    let handle = prepared(harness).await;
    let rows = &handle.rows;
    let changes = (0..2500).map(|n| change(&n.to_string(), "x")).collect();
    rows.apply(&things(2), at(0), at(5), changes).await.unwrap();
    rows.apply(&things(1), at(0), at(5), vec![change("live", "live")]).await.unwrap();
    rows.remove(&things(2)).await.unwrap();
    rows.remove(&things(2)).await.unwrap();
    for stale in [at(5), at(0), ProjectionCheckpoint::removed()] {
        let refused = rows.apply(&things(2), stale, at(6), vec![change("a", "old")]).await;
        assert!(matches!(refused, Err(WriteError::Conflict)), "{refused:?}");
    }
    assert!(rows.row_page(&things(2), None, 10).await.unwrap().rows.is_empty());
    assert_eq!(rows.row_page(&things(1), None, 10).await.unwrap().rows.len(), 1);
    let again = rows.prepare(&things(2)).await;
    assert!(
        again.as_ref().is_err_and(StoreError::is_transient),
        "the error must be transient, so that the caller retries: {again:?}"
    );
    let now = rows.checkpoint(&things(2)).await.unwrap();
    let written = rows.apply(&things(2), now, at(6), vec![change("a", "old")]).await;
    assert!(matches!(written, Err(WriteError::Conflict)), "{written:?}");
    assert!(rows.row_page(&things(2), None, 10).await.unwrap().rows.is_empty());
}

//! Versions of a read model: they change one step at a time, whoever changes them, and nobody goes back in time.

use futures::future::join_all;

use super::rows::{at, change, prepared, things};
use super::world::{PATIENCE, World};
use crate::error::StoreError;
use crate::rows::{ApplyError, Checkpoint};
use crate::versions::Versions;

/// Of several who change the same versions at once, one does; everybody hears of it.
pub async fn of_racing_changes_exactly_one_happens(world: &World) {
    let handles = [prepared(world).await, prepared(world).await];
    assert_eq!(handles[0].rows.versions("things").await.unwrap(), None);
    let first = |who: usize| Versions::first(1, &who.to_string(), world.now());
    let changes: Vec<_> = (0..6).map(first).collect();
    let racers =
        changes.iter().enumerate().map(|(who, to)| handles[who % 2].rows.change_versions("things", to, None));
    let results = join_all(racers).await;
    let winner = results.iter().position(Result::is_ok).unwrap();
    let overtaken = results.iter().filter(|result| matches!(result, Err(ApplyError::Overtaken))).count();
    assert_eq!(overtaken, 5, "{results:?}");
    for handle in &handles {
        assert_eq!(handle.rows.versions("things").await.unwrap().as_ref(), Some(&changes[winner]));
    }
    let next = changes[winner].build(2, "test", world.now()).unwrap();
    handles[0].rows.change_versions("things", &next, None).await.unwrap();
    let mut signals = handles[1].log.signals();
    let heard = signals.wait_for(|signal| signal.versions.get("things").is_some_and(|known| **known == next));
    tokio::time::timeout(PATIENCE, heard).await.unwrap().unwrap();
    let again = handles[1].rows.change_versions("things", &next, None).await;
    assert!(matches!(again, Err(ApplyError::Overtaken)), "{again:?}");
}

/// A version becomes live only once it is as far as the one that is.
pub async fn what_is_behind_does_not_become_live(world: &World) {
    let handle = prepared(world).await;
    let rows = &handle.rows;
    let first = Versions::first(1, "test", world.now());
    let building = first.build(1, "test", world.now()).unwrap();
    rows.change_versions("things", &first, None).await.unwrap();
    rows.change_versions("things", &building, None).await.unwrap();
    rows.apply(&things(1), at(0), at(5), vec![change("a", "one")]).await.unwrap();
    let finished = building.finish(None).unwrap();
    let early = rows.change_versions("things", &finished, Some((&things(2), &things(1)))).await;
    assert!(matches!(early, Err(ApplyError::Overtaken)), "{early:?}");
    assert_eq!(rows.versions("things").await.unwrap().as_ref(), Some(&building));
    rows.apply(&things(2), at(0), at(5), vec![change("a", "one")]).await.unwrap();
    rows.change_versions("things", &finished, Some((&things(2), &things(1)))).await.unwrap();
    assert_eq!(rows.versions("things").await.unwrap().unwrap().live, 2);
}

/// A table that is removed is gone whole, and for good; who still believes in it writes nothing.
pub async fn a_removed_table_takes_no_more_rows(world: &World) {
    let handle = prepared(world).await;
    let rows = &handle.rows;
    let changes = (0..2500).map(|n| change(&n.to_string(), "x")).collect();
    rows.apply(&things(2), at(0), at(5), changes).await.unwrap();
    rows.apply(&things(1), at(0), at(5), vec![change("live", "live")]).await.unwrap();
    rows.remove(&things(2)).await.unwrap();
    rows.remove(&things(2)).await.unwrap();
    for stale in [at(5), at(0), Checkpoint::removed()] {
        let refused = rows.apply(&things(2), stale, at(6), vec![change("a", "old")]).await;
        assert!(matches!(refused, Err(ApplyError::Overtaken)), "{refused:?}");
    }
    assert!(rows.slice(&things(2), None, 10).await.unwrap().rows.is_empty());
    assert_eq!(rows.slice(&things(1), None, 10).await.unwrap().rows.len(), 1);
    let again = rows.prepare(&things(2)).await;
    assert!(
        again.as_ref().is_err_and(StoreError::is_transient),
        "whoever has not heard of it asks again: {again:?}"
    );
    let now = rows.checkpoint(&things(2)).await.unwrap();
    let written = rows.apply(&things(2), now, at(6), vec![change("a", "old")]).await;
    assert!(matches!(written, Err(ApplyError::Overtaken)), "{written:?}");
    assert!(rows.slice(&things(2), None, 10).await.unwrap().rows.is_empty());
}

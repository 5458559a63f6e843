//! The progress of the log and the projections as known to this process, with notifications of changes.
//!
//! A notification carries no data: a reader that is notified reads on from its own position. Detecting
//! changes in the database belongs in the backends.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use jiff::Timestamp;
use tokio::sync::watch;
use tokio::time::Instant;

use crate::error::StoreError;
use crate::event::Position;
use crate::lag::{HeadHistory, ProjectionLag};
use crate::lock::lock;
use crate::rows::ProjectionCheckpoint;
use crate::versions::{ProjectionVersion, ProjectionVersions, VersionStage};

/// The progress of the log and the projections, as known to this process.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct StoreProgress {
    /// The position of the head of the log.
    pub head: Position,
    /// The latest time of a head that this process has read.
    pub head_time: Option<Timestamp>,
    /// The checkpoint of each projection table.
    pub checkpoints: BTreeMap<Arc<str>, ProjectionCheckpoint>,
    /// The versions of each read model.
    pub versions: BTreeMap<Arc<str>, Arc<ProjectionVersions>>,
    /// Watched tables, or collections, that were dropped from outside.
    pub dropped: BTreeSet<Arc<str>>,
    heads: HeadHistory,
    /// The head at which each table was begun again.
    refills: BTreeMap<Arc<str>, Position>,
}

impl StoreProgress {
    /// The checkpoint position of a projection table; [`Position::START`] if unknown.
    #[must_use]
    pub fn applied_position(&self, table: &str) -> Position {
        self.checkpoints.get(table).map(|checkpoint| checkpoint.position).unwrap_or_default()
    }

    /// The number of the live version of a read model; the first if unknown.
    #[must_use]
    pub fn live_version(&self, projection: &str) -> u64 {
        self.versions.get(projection).map_or(1, |versions| versions.live)
    }

    /// The projection lag of a table; `None` if it includes every event that this process knows of.
    #[must_use]
    pub fn lag(&self, table: &str) -> Option<ProjectionLag> {
        let applied = self.applied_position(table);
        (applied < self.head).then(|| self.heads.lag(applied))
    }

    /// Whether a table with this checkpoint is being filled again from the start, and has not reached yet what it
    /// had reached before, as far as this process knows.
    #[must_use]
    pub fn is_refilling(&self, table: &str, checkpoint: ProjectionCheckpoint) -> bool {
        let refilled = self.refills.get(table).copied().unwrap_or_default();
        checkpoint.rebuilds > 0 && checkpoint.position < refilled.max(self.heads.first())
    }

    /// Removes a table; returns whether it was known.
    fn remove(&mut self, table: &str) -> bool {
        let known = self.checkpoints.remove(table).is_some();
        self.dropped.remove(table) || known
    }

    /// Forgets what no lag depends on any more.
    fn forget_reached_heads(&mut self) {
        if let Some(reached_by_all) = self.checkpoints.values().map(|checkpoint| checkpoint.position).min() {
            self.heads.forget(reached_by_all);
        }
    }
}

/// Collects the progress that a backend reports. Stale reports change nothing.
#[derive(Debug)]
pub struct ProgressTracker {
    progress: watch::Sender<StoreProgress>,
    last_heartbeat: Mutex<Option<Instant>>,
    watched: Mutex<BTreeSet<Arc<str>>>,
}

impl Default for ProgressTracker {
    fn default() -> Self {
        let progress = watch::Sender::new(StoreProgress::default());
        Self { progress, last_heartbeat: Mutex::default(), watched: Mutex::default() }
    }
}

impl ProgressTracker {
    /// Watches the progress.
    #[must_use]
    pub fn subscribe(&self) -> watch::Receiver<StoreProgress> {
        self.progress.subscribe()
    }

    /// The head of the log is at least `head`.
    pub fn advance_head(&self, head: Position) {
        self.progress.send_if_modified(|progress| {
            let changed = head > progress.head;
            if !changed && head == Position::START {
                // Of an empty log the age of every event will be known.
                progress.heads.begin();
            }
            if changed {
                progress.head = head;
                progress.heads.record(head);
                progress.forget_reached_heads();
            }
            changed
        });
    }

    /// The head of the log was stamped with this time, or a later one. Sends no notification: no reader waits for it.
    pub fn observe_head_time(&self, at: Timestamp) {
        self.progress.send_if_modified(|progress| {
            progress.head_time = progress.head_time.max(Some(at));
            false
        });
    }

    /// The checkpoint of a projection table is at least `checkpoint`.
    pub fn advance_checkpoint(&self, table: &str, checkpoint: ProjectionCheckpoint) {
        self.progress.send_if_modified(|progress| {
            let changed = progress.checkpoints.get(table).is_none_or(|known| checkpoint > *known);
            if checkpoint.is_removed() {
                return progress.remove(table);
            }
            if changed {
                let before = progress.checkpoints.insert(table.into(), checkpoint);
                progress.forget_reached_heads();
                // A rebuild begins with creating the table if it is missing.
                if before.is_some_and(|before| before.rebuilds < checkpoint.rebuilds) {
                    progress.refills.insert(table.into(), progress.head);
                    progress.dropped.remove(table);
                }
            }
            changed
        });
    }

    /// Watches a table or collection, which exists: from now on its loss is reported.
    pub fn watch(&self, name: &str) {
        lock(&self.watched).insert(name.into());
        self.progress.send_if_modified(|progress| progress.dropped.remove(name));
    }

    /// The versions of a read model are `versions` or later ones. The table of the live version is watched
    /// from now on; those of versions that are dropping or gone no longer.
    pub fn advance_versions(&self, projection: &str, versions: ProjectionVersions) {
        // Held throughout, so that no stale report interferes.
        let mut watched = lock(&self.watched);
        self.progress.send_if_modified(|progress| {
            let known = progress.versions.get(projection);
            if known.is_some_and(|known| versions.revision <= known.revision) {
                return false;
            }
            let before = known.map(|known| known.kept.clone()).unwrap_or_default();
            let wanted = |number| versions.get(number).is_some_and(|it| it.stage != VersionStage::Dropping);
            for ProjectionVersion { number, .. } in before.iter().chain(&versions.kept) {
                if !wanted(*number) {
                    let table = format!("{projection}_{number}");
                    watched.remove(&*table);
                    progress.remove(&table);
                }
            }
            watched.insert(format!("{projection}_{}", versions.live).into());
            progress.versions.insert(projection.into(), Arc::new(versions));
            true
        });
    }

    /// Stops watching a table, which may be removed from now on.
    pub fn unwatch(&self, name: &str) {
        let mut watched = lock(&self.watched);
        watched.remove(name);
        self.progress.send_if_modified(|progress| progress.remove(name));
    }

    /// The watched tables.
    #[must_use]
    pub fn watched(&self) -> BTreeSet<Arc<str>> {
        lock(&self.watched).clone()
    }

    /// Whether a table is watched.
    #[must_use]
    pub fn is_watched(&self, name: &str) -> bool {
        lock(&self.watched).contains(name)
    }

    /// Reports that a table was dropped; ignored unless the table is watched.
    pub fn mark_dropped(&self, name: &str) {
        let watched = lock(&self.watched);
        let Some(name) = watched.get(name) else { return };
        self.progress.send_if_modified(|progress| {
            let is_new = progress.dropped.insert(Arc::clone(name));
            // Before anything that readers of the progress do about it.
            if is_new {
                tracing::error!("{}", StoreError::table_dropped(name));
            }
            is_new
        });
    }

    /// The database has answered: every earlier commit is known, or its notification is on the way.
    pub fn heartbeat(&self) {
        *lock(&self.last_heartbeat) = Some(Instant::now());
    }

    /// The time since the last heartbeat; `None` before the first.
    #[must_use]
    pub fn since_heartbeat(&self) -> Option<Duration> {
        lock(&self.last_heartbeat).map(|last_heartbeat| last_heartbeat.elapsed())
    }
}

#[cfg(test)]
#[expect(clippy::disallowed_methods, reason = "no borrowed value is held across another borrow")]
mod tests {
    use super::*;

    #[test]
    fn stale_update_never_moves_progress_back_but_a_rebuild_does() {
        let tracker = ProgressTracker::default();
        let at = |rebuilds, position| ProjectionCheckpoint {
            position: Position::new(position),
            ..ProjectionCheckpoint::start(rebuilds)
        };
        tracker.advance_head(Position::new(7));
        tracker.advance_head(Position::new(5));
        tracker.advance_checkpoint("users_1", at(0, 7));
        tracker.advance_checkpoint("users_1", at(0, 6));
        let seen = tracker.subscribe().borrow().clone();
        assert_eq!((seen.head, seen.applied_position("users_1")), (Position::new(7), Position::new(7)));
        tracker.advance_checkpoint("users_1", at(1, 0));
        assert_eq!(tracker.subscribe().borrow().applied_position("users_1"), Position::START);
    }

    #[tokio::test(start_paused = true)]
    async fn lag_ends_only_when_the_checkpoint_passes_the_event() {
        let tracker = ProgressTracker::default();
        let age = || tracker.subscribe().borrow().lag("users_1").map(|lag| lag.age.as_secs());
        let at = |position| ProjectionCheckpoint {
            position: Position::new(position),
            ..ProjectionCheckpoint::default()
        };
        tracker.advance_head(Position::new(1));
        tracker.advance_checkpoint("users_1", at(1));
        assert_eq!(age(), None);
        tracker.advance_head(Position::new(2));
        tokio::time::advance(Duration::from_secs(2)).await;
        tracker.advance_head(Position::new(3));
        assert_eq!(age(), Some(2), "more events make it no younger");
        tokio::time::advance(Duration::from_secs(4)).await;
        tracker.advance_checkpoint("users_1", at(2));
        assert_eq!(age(), Some(4), "a partial catch-up leaves the age of the next event");
        tracker.advance_checkpoint("users_1", at(3));
        assert_eq!(age(), None);
    }

    #[test]
    fn watched_table_is_reported_dropped_until_recreated() {
        let tracker = ProgressTracker::default();
        let gone = || tracker.subscribe().borrow().dropped.clone();
        let at = |rebuilds| ProjectionCheckpoint {
            position: Position::new(7),
            ..ProjectionCheckpoint::start(rebuilds)
        };
        tracker.watch("users_1");
        tracker.advance_checkpoint("users_1", at(0));
        for name in ["users_0", "users_1", "users_1"] {
            tracker.mark_dropped(name);
        }
        assert_eq!(gone(), [Arc::from("users_1")].into());
        tracker.advance_checkpoint(
            "users_1",
            ProjectionCheckpoint { position: Position::new(8), ..ProjectionCheckpoint::default() },
        );
        assert_eq!(
            gone(),
            [Arc::from("users_1")].into(),
            "progress without a rebuild does not recreate the table"
        );
        tracker.advance_checkpoint("users_1", at(1));
        assert!(gone().is_empty());
        tracker.mark_dropped("users_1");
        tracker.watch("users_1");
        assert!(gone().is_empty());
    }

    #[test]
    fn removed_version_is_unwatched_despite_stale_updates() {
        let tracker = ProgressTracker::default();
        let version = |number, stage| ProjectionVersion {
            number,
            fold: 1,
            stage,
            by: "system".to_owned(),
            since: jiff::Timestamp::UNIX_EPOCH,
            differed: None,
        };
        let at = |revision, live, kept: &[(u64, VersionStage)]| ProjectionVersions {
            revision,
            live,
            last: 3,
            declined: 0,
            kept: kept.iter().map(|(number, stage)| version(*number, *stage)).collect(),
        };
        let watched = || tracker.watched().iter().map(ToString::to_string).collect::<Vec<_>>();
        let first = at(1, 1, &[(1, VersionStage::Ready)]);
        tracker.advance_versions("users", first.clone());
        tracker.advance_checkpoint("users_1", ProjectionCheckpoint::start(0));
        assert_eq!(watched(), ["users_1"]);
        // The report that version 1 is dropping was missed; here it no longer exists.
        tracker.advance_versions("users", at(5, 2, &[(2, VersionStage::Ready)]));
        tracker.advance_versions("users", first);
        assert_eq!(watched(), ["users_2"]);
        tracker.mark_dropped("users_1");
        let seen = tracker.subscribe().borrow().clone();
        assert!(seen.dropped.is_empty() && !seen.checkpoints.contains_key("users_1"), "{seen:?}");
        assert_eq!(seen.live_version("users"), 2);
        tracker.advance_versions("users", at(6, 3, &[(2, VersionStage::Dropping), (3, VersionStage::Ready)]));
        assert_eq!(watched(), ["users_3"]);
    }

    #[tokio::test(start_paused = true)]
    async fn heartbeat_age_counts_from_the_first_heartbeat() {
        let tracker = ProgressTracker::default();
        assert_eq!(tracker.since_heartbeat(), None);
        tracker.heartbeat();
        tokio::time::advance(Duration::from_secs(3)).await;
        assert_eq!(tracker.since_heartbeat(), Some(Duration::from_secs(3)));
    }

    #[tokio::test(start_paused = true)]
    async fn table_is_refilling_until_it_has_caught_up_once() {
        let tracker = ProgressTracker::default();
        let refilling = |rebuilds, position| {
            let checkpoint = ProjectionCheckpoint {
                position: Position::new(position),
                ..ProjectionCheckpoint::start(rebuilds)
            };
            tracker.advance_checkpoint("users_1", checkpoint);
            tracker.subscribe().borrow().is_refilling("users_1", checkpoint)
        };
        tracker.advance_head(Position::new(5));
        assert!(!refilling(0, 3), "it is merely behind");
        assert!(refilling(1, 0) && refilling(1, 4));
        assert!(!refilling(1, 5));
        tracker.advance_head(Position::new(6));
        assert!(!refilling(1, 5), "it is merely behind");
    }
}

//! Watches for commits of all processes. SQLite sends no notifications, but `PRAGMA data_version` changes
//! with every commit of another connection and costs a few microseconds to read.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::mpsc::{self, Receiver, RecvTimeoutError, Sender};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use jiff::Timestamp;
use rusqlite::Connection;
use store::{Position, ProgressTracker, ProjectionCheckpoint, ProjectionVersions, StoreError};

use crate::checkpoints::checkpoints_in_use;
use crate::error::{SqliteError, none_if_table_missing};
use crate::head::read_head_progress;
use crate::managed_connection::ManagedConnection;
use crate::projection_versions;
use crate::schema::table_exists;
use crate::worker_pool::start_thread;

/// Time between two reads of `data_version`.
const POLL_INTERVAL: Duration = Duration::from_millis(25);
/// Time after which progress is read even if `data_version` has not changed.
const FULL_READ_INTERVAL: Duration = Duration::from_secs(1);

/// A thread that publishes progress until this is dropped.
pub(crate) struct ProgressWatcher {
    stop: Option<Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl ProgressWatcher {
    /// Starts the thread.
    pub(crate) fn start(
        session: ManagedConnection,
        tracker: Arc<ProgressTracker>,
    ) -> Result<Self, StoreError> {
        let (stop, stopped) = mpsc::channel();
        tracker.heartbeat();
        let watcher = WatcherThread { session, tracker, version: None, read_at: None, failing: false };
        let thread = start_thread("sqlite-watch", move || watcher.run(&stopped))?;
        Ok(Self { stop: Some(stop), thread: Some(thread) })
    }
}

impl Drop for ProgressWatcher {
    fn drop(&mut self) {
        self.stop = None;
        if let Some(thread) = self.thread.take() {
            drop(thread.join());
        }
    }
}

struct WatcherThread {
    session: ManagedConnection,
    tracker: Arc<ProgressTracker>,
    version: Option<i64>,
    read_at: Option<Instant>,
    failing: bool,
}

impl WatcherThread {
    fn run(mut self, stopped: &Receiver<()>) {
        while stopped.recv_timeout(POLL_INTERVAL) == Err(RecvTimeoutError::Timeout) {
            match self.poll() {
                Ok(()) => self.failing = false,
                Err(failure) => {
                    if !self.failing {
                        tracing::warn!(?failure, "watching the database for commits failed; retrying");
                    }
                    // `data_version` is valid for one connection only, which may be reopened.
                    (self.failing, self.version) = (true, None);
                }
            }
        }
    }

    fn poll(&mut self) -> Result<(), SqliteError> {
        let watched = self.tracker.watched();
        let (known, overdue) =
            (self.version, self.read_at.is_none_or(|at| at.elapsed() >= FULL_READ_INTERVAL));
        let snapshot = self.session.run(|connection| {
            // The version first: a commit after this read changes it again.
            let mut statement = connection.prepare_cached("PRAGMA data_version")?;
            let version: i64 = statement.query_row([], |row| row.get(0))?;
            let changed = known != Some(version);
            let snapshot = if changed || overdue {
                Some((read_snapshot(connection)?, missing_tables(connection, watched)?))
            } else {
                None
            };
            Ok((version, snapshot))
        });
        let (version, snapshot) = snapshot?;
        if let Some((snapshot, missing)) = snapshot {
            for name in missing {
                self.tracker.mark_dropped(&name);
            }
            snapshot.publish(&self.tracker);
            self.read_at = Some(Instant::now());
        }
        self.version = Some(version);
        self.tracker.heartbeat();
        Ok(())
    }
}

/// The progress of the log and the projections.
pub(crate) struct ProgressSnapshot {
    /// Position and time.
    head: Option<(Position, Timestamp)>,
    checkpoints: Vec<(String, ProjectionCheckpoint)>,
    versions: Vec<(String, ProjectionVersions)>,
}

impl ProgressSnapshot {
    /// Notifies subscribers.
    pub(crate) fn publish(self, tracker: &ProgressTracker) {
        let (head, at) = self.head.unzip();
        tracker.advance_head(head.unwrap_or_default());
        if let Some(at) = at {
            tracker.observe_head_time(at);
        }
        for (table, checkpoint) in self.checkpoints {
            tracker.advance_checkpoint(&table, checkpoint);
        }
        for (projection, versions) in self.versions {
            tracker.advance_versions(&projection, versions);
        }
    }
}

/// Reads the progress of the log and the projections; without tables both are at the start.
pub(crate) fn read_snapshot(connection: &Connection) -> Result<ProgressSnapshot, SqliteError> {
    Ok(ProgressSnapshot {
        head: none_if_table_missing(read_head_progress(connection))?,
        checkpoints: none_if_table_missing(checkpoints_in_use(connection))?.unwrap_or_default(),
        versions: none_if_table_missing(projection_versions::all(connection))?.unwrap_or_default(),
    })
}

/// The tables of these that do not exist.
fn missing_tables(
    connection: &Connection,
    watched: BTreeSet<Arc<str>>,
) -> Result<Vec<Arc<str>>, SqliteError> {
    let mut missing = Vec::new();
    for name in watched {
        if !table_exists(connection, &name)? {
            missing.push(name);
        }
    }
    Ok(missing)
}

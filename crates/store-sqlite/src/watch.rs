//! Hearing of commits, also those of other processes. SQLite tells nobody; but a number in shared memory changes with
//! every commit (`PRAGMA data_version`), and looking at it costs some microseconds.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::mpsc::{self, Receiver, RecvTimeoutError, Sender};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use rusqlite::Connection;
use store::{Position, ProgressTracker, ProjectionCheckpoint, ProjectionVersions, StoreError};

use crate::checkpoints::all_checkpoints;
use crate::error::{SqliteError, none_if_table_missing};
use crate::head::read_head_position;
use crate::managed_connection::ManagedConnection;
use crate::projection_versions;
use crate::schema::table_exists;
use crate::worker_pool::start_thread;

/// How often to look whether anything was committed.
const POLL_INTERVAL: Duration = Duration::from_millis(25);
/// How often to read head and checkpoints even though nothing seems to have been.
const FULL_READ_INTERVAL: Duration = Duration::from_secs(1);

/// A thread that posts news, until it is dropped.
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
                        tracing::warn!(?failure, "cannot hear of commits; still trying");
                    }
                    // The version counts for one connection only, and this one may be opened anew.
                    (self.failing, self.version) = (true, None);
                }
            }
        }
    }

    fn poll(&mut self) -> Result<(), SqliteError> {
        let watched = self.tracker.watched();
        let (known, overdue) =
            (self.version, self.read_at.is_none_or(|at| at.elapsed() >= FULL_READ_INTERVAL));
        let news = self.session.run(|connection| {
            // The version first: what is committed after it was read will change it again.
            let mut statement = connection.prepare_cached("PRAGMA data_version")?;
            let version: i64 = statement.query_row([], |row| row.get(0))?;
            let moved = known != Some(version);
            let news = if moved || overdue {
                Some((read_snapshot(connection)?, missing_tables(connection, watched)?))
            } else {
                None
            };
            Ok((version, news))
        });
        let (version, news) = news?;
        if let Some((news, missing)) = news {
            for name in missing {
                self.tracker.mark_dropped(&name);
            }
            news.publish(&self.tracker);
            self.read_at = Some(Instant::now());
        }
        self.version = Some(version);
        self.tracker.heartbeat();
        Ok(())
    }
}

/// How far log and projections are.
pub(crate) struct ProgressSnapshot {
    head: Position,
    checkpoints: Vec<(String, ProjectionCheckpoint)>,
    versions: Vec<(String, ProjectionVersions)>,
}

impl ProgressSnapshot {
    /// Wakes those who follow.
    pub(crate) fn publish(self, tracker: &ProgressTracker) {
        tracker.advance_head(self.head);
        for (table, checkpoint) in self.checkpoints {
            tracker.advance_checkpoint(&table, checkpoint);
        }
        for (projection, versions) in self.versions {
            tracker.advance_versions(&projection, versions);
        }
    }
}

/// Reads how far log and projections are; a database without them is at the start.
pub(crate) fn read_snapshot(connection: &Connection) -> Result<ProgressSnapshot, SqliteError> {
    Ok(ProgressSnapshot {
        head: none_if_table_missing(read_head_position(connection))?.unwrap_or_default(),
        checkpoints: none_if_table_missing(all_checkpoints(connection))?.unwrap_or_default(),
        versions: none_if_table_missing(projection_versions::all(connection))?.unwrap_or_default(),
    })
}

/// Which of these tables are not there.
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

//! Hearing of commits, also those of other processes. SQLite tells nobody; but a number in shared memory changes with
//! every commit (`PRAGMA data_version`), and looking at it costs some microseconds.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::mpsc::{self, Receiver, RecvTimeoutError, Sender};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use rusqlite::Connection;
use store::{Checkpoint, Position, SignalBoard, StoreError, Versions};

use crate::failure::Failure;
use crate::rows::{to_checkpoint, versions};
use crate::session::Session;
use crate::workers::start_thread;

/// How often to look whether anything was committed.
const LOOK: Duration = Duration::from_millis(25);
/// How often to read head and checkpoints even though nothing seems to have been.
const READ: Duration = Duration::from_secs(1);

/// A thread that posts news, until it is dropped.
pub(crate) struct Watch {
    stop: Option<Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl Watch {
    /// Starts the thread.
    pub(crate) fn start(session: Session, board: Arc<SignalBoard>) -> Result<Self, StoreError> {
        let (stop, stopped) = mpsc::channel();
        board.hear();
        let watcher = Watcher { session, board, version: None, read_at: None, failing: false };
        let thread = start_thread("sqlite-watch", move || watcher.run(&stopped))?;
        Ok(Self { stop: Some(stop), thread: Some(thread) })
    }
}

impl Drop for Watch {
    fn drop(&mut self) {
        self.stop = None;
        if let Some(thread) = self.thread.take() {
            drop(thread.join());
        }
    }
}

struct Watcher {
    session: Session,
    board: Arc<SignalBoard>,
    version: Option<i64>,
    read_at: Option<Instant>,
    failing: bool,
}

impl Watcher {
    fn run(mut self, stopped: &Receiver<()>) {
        while stopped.recv_timeout(LOOK) == Err(RecvTimeoutError::Timeout) {
            match self.look() {
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

    fn look(&mut self) -> Result<(), Failure> {
        let relied_on = self.board.relied_on();
        let (known, overdue) = (self.version, self.read_at.is_none_or(|at| at.elapsed() >= READ));
        let news = self.session.run(|connection| {
            // The version first: what is committed after it was read will change it again.
            let mut statement = connection.prepare_cached("PRAGMA data_version")?;
            let version: i64 = statement.query_row([], |row| row.get(0))?;
            let moved = known != Some(version);
            let news = if moved || overdue {
                Some((read_news(connection)?, missing(connection, relied_on)?))
            } else {
                None
            };
            Ok((version, news))
        });
        let (version, news) = news?;
        if let Some((news, missing)) = news {
            for name in missing {
                self.board.lose(&name);
            }
            news.post(&self.board);
            self.read_at = Some(Instant::now());
        }
        self.version = Some(version);
        self.board.hear();
        Ok(())
    }
}

/// How far log and projections are.
pub(crate) struct News {
    head: Position,
    checkpoints: Vec<(String, Checkpoint)>,
    versions: Vec<(String, Versions)>,
}

impl News {
    /// Wakes those who follow.
    pub(crate) fn post(self, board: &SignalBoard) {
        board.raise_head(self.head);
        for (table, checkpoint) in self.checkpoints {
            board.raise_checkpoint(&table, checkpoint);
        }
        for (projection, versions) in self.versions {
            board.raise_versions(&projection, versions);
        }
    }
}

/// Reads how far log and projections are; a database without them is at the start.
pub(crate) fn read_news(connection: &Connection) -> Result<News, Failure> {
    Ok(News {
        head: unless_missing(head_position(connection))?.unwrap_or_default(),
        checkpoints: unless_missing(checkpoints(connection))?.unwrap_or_default(),
        versions: unless_missing(versions::all(connection))?.unwrap_or_default(),
    })
}

/// Which of these tables are not there.
fn missing(connection: &Connection, relied_on: BTreeSet<Arc<str>>) -> Result<Vec<Arc<str>>, Failure> {
    let mut missing = Vec::new();
    for name in relied_on {
        if !is_there(connection, &name)? {
            missing.push(name);
        }
    }
    Ok(missing)
}

fn head_position(connection: &Connection) -> Result<Position, Failure> {
    let mut statement = connection.prepare_cached("SELECT position FROM head")?;
    Ok(Position::from_i64(statement.query_row([], |row| row.get(0))?))
}

fn checkpoints(connection: &Connection) -> Result<Vec<(String, Checkpoint)>, Failure> {
    let sql = "SELECT name, position, rebuilds, digest FROM checkpoints";
    let mut statement = connection.prepare_cached(sql)?;
    let mut rows = statement.query([])?;
    let mut found = Vec::new();
    while let Some(row) = rows.next()? {
        found.push((row.get(0)?, to_checkpoint(row)?));
    }
    Ok(found)
}

/// Whether there is a table of that name.
pub(crate) fn is_there(connection: &Connection, table: &str) -> Result<bool, Failure> {
    let sql = "SELECT 1 FROM sqlite_schema WHERE type = 'table' AND name = ?1";
    Ok(connection.prepare_cached(sql)?.exists([table])?)
}

/// What was found, or `None` if its table is not there yet.
pub(crate) fn unless_missing<T>(found: Result<T, Failure>) -> Result<Option<T>, Failure> {
    match found {
        Err(failure) if failure.is_missing_table() => Ok(None),
        found => found.map(Some),
    }
}

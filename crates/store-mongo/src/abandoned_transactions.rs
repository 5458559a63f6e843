//! Ends transactions that another process abandoned. A process that is killed or disconnected in
//! mid-transaction leaves the transaction open on the server, which keeps it, and its lock on the head of the
//! log, for `transactionLifetimeLimitSeconds` (one minute by default). A process whose write conflicts
//! persist kills such sessions. The server allows every user to kill its own sessions, and a process that was
//! only slow retries.

use std::time::Duration;

use futures::TryStreamExt;
use mongodb::bson::{Document, doc};
use mongodb::error::Error;
use tokio::time::Instant;

use crate::connection::Db;
use crate::error::MongoError;

/// Conflicts shorter than this are normal contention.
const MIN_CONFLICT_DURATION: Duration = Duration::from_secs(1);
/// Time between two searches for abandoned transactions.
const CHECK_INTERVAL: Duration = Duration::from_millis(500);
/// Idle time after which a transaction counts as abandoned. Between two commands of a live process pass
/// milliseconds.
const MIN_IDLE: Duration = Duration::from_secs(3);

/// Tracks the write conflicts of one transaction.
#[derive(Default)]
pub(crate) struct ConflictMonitor {
    next_check: Option<Instant>,
}

impl ConflictMonitor {
    /// Records a conflict. If conflicts persist, searches for abandoned transactions and kills them.
    pub(crate) async fn record(&mut self, db: &Db) {
        let now = Instant::now();
        if now < *self.next_check.get_or_insert(now + MIN_CONFLICT_DURATION) {
            return;
        }
        self.next_check = Some(now + CHECK_INTERVAL);
        match kill_abandoned_sessions(db).await {
            Ok(0) => {}
            Ok(ended) => tracing::warn!(ended, "killed the sessions of abandoned transactions"),
            Err(error) => {
                let error = MongoError::from(error).describe();
                tracing::debug!(error, "searching for abandoned transactions failed");
            }
        }
    }
}

/// Kills the sessions of this application whose transactions have been idle for too long. Returns their
/// number.
async fn kill_abandoned_sessions(db: &Db) -> Result<usize, Error> {
    let admin = db.handle().client().database("admin");
    let abandoned = doc! {
        "type": "idleSession",
        "appName": db.app_name(),
        "transaction.parameters.autocommit": false,
        "transaction.timeInactiveMicros": { "$gt": i64::try_from(MIN_IDLE.as_micros()).unwrap_or(i64::MAX) },
    };
    let mine = doc! { "$currentOp": { "idleSessions": true, "allUsers": false } };
    let found =
        admin.aggregate([mine, doc! { "$match": abandoned }, doc! { "$project": { "lsid": 1 } }]).await?;
    let found: Vec<Document> = found.try_collect().await?;
    let session = |operation: &Document| Some(doc! { "id": operation.get_document("lsid").ok()?.get("id")? });
    let sessions: Vec<_> = found.iter().filter_map(session).collect();
    let ended = sessions.len();
    if ended > 0 {
        admin.run_command(doc! { "killSessions": sessions }).await?;
    }
    Ok(ended)
}

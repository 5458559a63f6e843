//! Transactions that nobody will ever end. A process that is killed, or cut off, in mid-transaction leaves it open on
//! the server, which keeps it (and the lock on the head of the log) for `transactionLifetimeLimitSeconds`, a minute by
//! default. Whoever meets a conflict that does not pass ends such transactions: a server does that for any user's own
//! sessions, and a process that was only slow simply begins its transaction anew.

use std::time::Duration;

use futures::TryStreamExt;
use mongodb::bson::{Document, doc};
use mongodb::error::Error;
use tokio::time::Instant;

use crate::connection::Db;
use crate::error::MongoError;

/// How long a conflict must last to be looked into.
const MIN_CONFLICT_DURATION: Duration = Duration::from_secs(1);
/// How often to look.
const CHECK_INTERVAL: Duration = Duration::from_millis(500);
/// How long a transaction must have waited for its process to count as left behind. Between two commands of ours pass
/// milliseconds.
const MIN_IDLE: Duration = Duration::from_secs(3);

/// The conflicts that one transaction has met.
#[derive(Default)]
pub(crate) struct ConflictMonitor {
    next_check: Option<Instant>,
}

impl ConflictMonitor {
    /// Takes note of a conflict, and looks into it if it lasts.
    pub(crate) async fn record(&mut self, db: &Db) {
        let now = Instant::now();
        if now < *self.next_check.get_or_insert(now + MIN_CONFLICT_DURATION) {
            return;
        }
        self.next_check = Some(now + CHECK_INTERVAL);
        match kill_abandoned_sessions(db).await {
            Ok(0) => {}
            Ok(ended) => tracing::warn!(ended, "ended transactions that another process has left open"),
            Err(error) => {
                let error = MongoError::from(error).describe();
                tracing::debug!(error, "cannot look for transactions that were left open");
            }
        }
    }
}

/// Ends the sessions of this application whose transactions have been waiting too long. Says how many.
async fn kill_abandoned_sessions(db: &Db) -> Result<usize, Error> {
    let admin = db.handle().client().database("admin");
    let left_behind = doc! {
        "type": "idleSession",
        "appName": db.app_name(),
        "transaction.parameters.autocommit": false,
        "transaction.timeInactiveMicros": { "$gt": i64::try_from(MIN_IDLE.as_micros()).unwrap_or(i64::MAX) },
    };
    let mine = doc! { "$currentOp": { "idleSessions": true, "allUsers": false } };
    let found =
        admin.aggregate([mine, doc! { "$match": left_behind }, doc! { "$project": { "lsid": 1 } }]).await?;
    let found: Vec<Document> = found.try_collect().await?;
    let session = |operation: &Document| Some(doc! { "id": operation.get_document("lsid").ok()?.get("id")? });
    let sessions: Vec<_> = found.iter().filter_map(session).collect();
    let ended = sessions.len();
    if ended > 0 {
        admin.run_command(doc! { "killSessions": sessions }).await?;
    }
    Ok(ended)
}

//! Causal consistency across all sessions of a process (read-your-writes and monotonic reads). After an
//! election the new primary may, for a moment, answer majority reads with less than the old primary had
//! acknowledged. Every session therefore starts from the newest operation time that any session of this
//! process has read or written.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use mongodb::bson::Timestamp;
use mongodb::{ClientSession, ClusterTime};

/// The newest times that this process has observed. Clones share them.
#[derive(Clone, Default)]
pub(crate) struct CausalToken(Arc<Mutex<Newest>>);

#[derive(Default)]
struct Newest {
    /// The time of the newest operation that was read or written.
    operation: Option<Timestamp>,
    /// The gossiped cluster time. A server rejects an operation time that is later than the cluster time it
    /// knows.
    cluster: Option<ClusterTime>,
}

impl CausalToken {
    /// Makes a new session read nothing older than these times.
    pub(crate) fn apply_to(&self, session: &mut ClientSession) {
        let newest = self.newest();
        if let Some(cluster) = &newest.cluster {
            session.advance_cluster_time(cluster);
        }
        if let Some(operation) = newest.operation {
            session.advance_operation_time(operation);
        }
    }

    /// Advances to what a session has observed. Do not call it for an uncommitted transaction.
    pub(crate) fn advance_from(&self, session: &ClientSession) {
        let mut newest = self.newest();
        if let Some(cluster) = session.cluster_time()
            && newest.cluster.as_ref().is_none_or(|known| known < cluster)
        {
            newest.cluster = Some(cluster.clone());
        }
        newest.operation = newest.operation.max(session.operation_time());
    }

    /// Advances to the time of a change that the change stream reported.
    pub(crate) fn advance_to(&self, change: Option<Timestamp>) {
        let mut newest = self.newest();
        newest.operation = newest.operation.max(change);
    }

    fn newest(&self) -> MutexGuard<'_, Newest> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

//! What this process has seen of the database. After an election a new primary may answer majority reads, for a moment,
//! with less than the old one had acknowledged. So every session starts from the newest that any other of this process
//! has read or written (MongoDB's causal consistency), and what was seen once is never missing afterwards.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use mongodb::bson::Timestamp;
use mongodb::{ClientSession, ClusterTime};

/// The newest moment of the database that this process knows of. Clones share it.
#[derive(Clone, Default)]
pub(crate) struct CausalToken(Arc<Mutex<Newest>>);

#[derive(Default)]
struct Newest {
    /// Of what was read or written.
    operation: Option<Timestamp>,
    /// Of the servers' clock; they refuse to be asked for what is later than they have heard of.
    cluster: Option<ClusterTime>,
}

impl CausalToken {
    /// Makes a new session read nothing older.
    pub(crate) fn apply_to(&self, session: &mut ClientSession) {
        let newest = self.newest();
        if let Some(cluster) = &newest.cluster {
            session.advance_cluster_time(cluster);
        }
        if let Some(operation) = newest.operation {
            session.advance_operation_time(operation);
        }
    }

    /// Takes over what a session has come to see. Not of a transaction that is not committed: nobody has seen that.
    pub(crate) fn advance_from(&self, session: &ClientSession) {
        let mut newest = self.newest();
        if let Some(cluster) = session.cluster_time()
            && newest.cluster.as_ref().is_none_or(|known| known < cluster)
        {
            newest.cluster = Some(cluster.clone());
        }
        newest.operation = newest.operation.max(session.operation_time());
    }

    /// Takes over the time of a change that was heard of.
    pub(crate) fn advance_to(&self, change: Option<Timestamp>) {
        let mut newest = self.newest();
        newest.operation = newest.operation.max(change);
    }

    fn newest(&self) -> MutexGuard<'_, Newest> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

//! Commits a batch: reads the preconditions, plans and writes in one transaction.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use async_trait::async_trait;
use jiff::Timestamp;
use mongodb::ClientSession;
use mongodb::bson::{Document, RawDocumentBuf, doc};
use store::append::AppendResult;
use store::backend::CommitError;
use store::commit_planner::{Batch, CommitPlan};
use store::key_store::ClaimHash;
use store::{Position, StoreError, StreamId};

use crate::connection::Db;
use crate::deliveries;
use crate::document_reader::{binary, hashes, raw};
use crate::error::{MongoError, check_write_errors};
use crate::event_document::{HEAD_ID, from_event, from_head};
use crate::idempotency;
use crate::preconditions;
use crate::sessions;
use crate::transaction::{TransactionBody, run_transaction};

/// The outcome of a committed batch.
pub(crate) struct Committed {
    pub(crate) results: Vec<AppendResult>,
    pub(crate) head: Position,
    /// The time of the head.
    pub(crate) at: Timestamp,
}

/// Commits a batch. The error distinguishes "not committed" from "unknown".
pub(crate) async fn commit(db: &Db, batch: Arc<Batch>) -> Result<Committed, CommitError> {
    run_transaction(db, CommitBatch { batch, is_retry: AtomicBool::new(false) }).await
}

struct CommitBatch {
    batch: Arc<Batch>,
    is_retry: AtomicBool,
}

#[async_trait]
impl TransactionBody for CommitBatch {
    type Output = Committed;

    fn description(&self) -> String {
        "committing appends".to_owned()
    }

    async fn attempt(&self, db: &Db, session: &mut ClientSession) -> Result<Committed, MongoError> {
        // A retry locks the head first: a large batch could otherwise lose to smaller ones indefinitely. The
        // first attempt skips the lock, which saves a round trip.
        let head_locked = self.is_retry.swap(true, Ordering::Relaxed);
        if head_locked {
            lock_head(db, session).await?;
        }
        let (preconditions, touched) = preconditions::read(db, session, &self.batch).await?;
        let plan = self.batch.plan(preconditions);
        if !plan.events.is_empty() {
            write(db, session, &plan, touched).await?;
        } else if !head_locked {
            // Rejections depend on what was read, so they too need the head unchanged and a majority commit.
            lock_head(db, session).await?;
        }
        Ok(Committed { head: plan.head.position, at: plan.head.at, results: plan.results })
    }
}

/// Locks the head by writing to it: of two concurrent transactions that do so, one fails.
pub(crate) async fn lock_head(db: &Db, session: &mut ClientSession) -> Result<(), MongoError> {
    let touch = doc! { "$inc": { "touched": 1_i64 } };
    db.head().update_one(doc! { "_id": HEAD_ID }, touch).session(session).await?;
    Ok(())
}

/// Writes a plan: the head, released claims before taken ones, then the events. The head comes first because
/// concurrent transactions collide there, and the loser should fail before it has done much work.
async fn write(
    db: &Db,
    session: &mut ClientSession,
    plan: &CommitPlan,
    touched: i64,
) -> Result<(), MongoError> {
    // A replacement, not an update: the change event then contains the whole new head.
    db.head()
        .replace_one(doc! { "_id": HEAD_ID }, from_head(&plan.head, touched + 1))
        .session(&mut *session)
        .await?;
    deliveries::delete(db, session, &plan.erased).await?;
    let changes = key_entry_updates(plan);
    if !changes.is_empty() {
        let update = doc! { "update": db.vault().name(), "updates": changes };
        let answer = db.handle().run_command(update).session(&mut *session).await?;
        check_write_errors("updating the key store", &answer)?;
    }
    if !plan.new_keys.is_empty() {
        let entries: Vec<_> =
            plan.new_keys.iter().map(|(stream, key, claims)| new_key_entry(stream, key, claims)).collect();
        let entries = entries.into_iter().collect::<Result<Vec<_>, _>>()?;
        db.vault().insert_many(&entries).session(&mut *session).await?;
    }
    sessions::end(db, session, &plan.ended_sessions).await?;
    let events = plan.events.iter().map(from_event).collect::<Result<Vec<_>, _>>()?;
    db.events().insert_many(&events).session(&mut *session).await?;
    idempotency::write(db, session, &plan.recorded_results).await
}

/// Updates of existing key entries, in the order in which they must be applied.
fn key_entry_updates(plan: &CommitPlan) -> Vec<Document> {
    let released = plan.released.iter().map(|(stream, claims)| {
        doc! { "q": { "_id": stream.as_str() }, "u": release_pipeline(claims) }
    });
    let erased = plan.erased.iter().map(|stream| {
        doc! { "q": { "_id": stream.as_str() }, "u": { "_id": stream.as_str(), "erased": true }, "upsert": true }
    });
    let taken = plan.taken.iter().map(|(stream, claims)| {
        let push = doc! { "$push": { "claims": { "$each": hashes(claims) } } };
        doc! { "q": { "_id": stream.as_str() }, "u": push }
    });
    released.chain(erased).chain(taken).collect()
}

/// Removes claims. The field goes with the last claim, because the unique index admits only one empty list.
fn release_pipeline(claims: &[ClaimHash]) -> Vec<Document> {
    let remaining =
        doc! { "$filter": { "input": "$claims", "cond": { "$not": { "$in": ["$$this", hashes(claims)] } } } };
    vec![
        doc! { "$set": { "claims": remaining } },
        doc! { "$set": { "claims": { "$cond": [{ "$eq": ["$claims", []] }, "$$REMOVE", "$claims"] } } },
    ]
}

/// A new key entry. Without claims it has no `claims` field, which the sparse index requires.
fn new_key_entry(stream: &StreamId, key: &[u8], claims: &[ClaimHash]) -> Result<RawDocumentBuf, StoreError> {
    let mut entry = doc! { "_id": stream.as_str(), "key": binary(key) };
    if !claims.is_empty() {
        entry.insert("claims", hashes(claims));
    }
    raw(&entry)
}

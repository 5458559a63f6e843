//! Committing a batch: facts, judgement and writes in one transaction.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use async_trait::async_trait;
use mongodb::ClientSession;
use mongodb::bson::{Document, RawDocumentBuf, doc};
use store::backend::{CommitError, Plan, Verdict};
use store::judge::Batch;
use store::vault::ClaimHash;
use store::{Position, StoreError, StreamId};

use crate::connect::Db;
use crate::document::{HEAD_ID, from_event, from_head};
use crate::facts::{self, hashes};
use crate::failure::{Failure, check_statements};
use crate::fields::{binary, raw};
use crate::idempotency;
use crate::transaction::{Work, transact};

/// What a committed batch has come to.
pub(crate) struct Committed {
    pub(crate) verdicts: Vec<Verdict>,
    pub(crate) head: Position,
}

/// Commits a batch, or says that it could not, or that nobody can tell.
pub(crate) async fn commit(db: &Db, batch: Arc<Batch>) -> Result<Committed, CommitError> {
    transact(db, Appends { batch, tried: AtomicBool::new(false) }).await
}

struct Appends {
    batch: Arc<Batch>,
    /// Whether this is not the first try.
    tried: AtomicBool,
}

#[async_trait]
impl Work for Appends {
    type Answer = Committed;

    fn what(&self) -> String {
        "committing appends".to_owned()
    }

    async fn attempt(&self, db: &Db, session: &mut ClientSession) -> Result<Committed, Failure> {
        // Whoever has lost against another process holds the head from the start: it could lose against smaller batches
        // for ever. The first try does without, which spares a round trip.
        let holds_head = self.tried.swap(true, Ordering::Relaxed);
        if holds_head {
            touch_head(db, session).await?;
        }
        let (facts, touched) = facts::read(db, session, &self.batch).await?;
        let plan = self.batch.judge(facts);
        if !plan.events.is_empty() {
            write(db, session, &plan, touched).await?;
        } else if !holds_head {
            // Refusals rest on what was read: they too are true only if nobody has written since, and once a majority
            // has the transaction.
            touch_head(db, session).await?;
        }
        Ok(Committed { head: plan.head.position, verdicts: plan.verdicts })
    }
}

/// Makes this transaction one that writes to the head: of two that do so, one fails.
pub(crate) async fn touch_head(db: &Db, session: &mut ClientSession) -> Result<(), Failure> {
    let touch = doc! { "$inc": { "touched": 1_i64 } };
    db.head().update_one(doc! { "_id": HEAD_ID }, touch).session(session).await?;
    Ok(())
}

/// Writes a plan: the head, what frees claims before what takes them, then the events. The head first, since there two
/// transactions at once collide, and the loser should not have cost much by then.
async fn write(db: &Db, session: &mut ClientSession, plan: &Plan, touched: i64) -> Result<(), Failure> {
    // Replaced, not updated: the change stream then carries the new head whole.
    db.head()
        .replace_one(doc! { "_id": HEAD_ID }, from_head(&plan.head, touched + 1))
        .session(&mut *session)
        .await?;
    let changes = vault_changes(plan);
    if !changes.is_empty() {
        let update = doc! { "update": db.vault().name(), "updates": changes };
        let answer = db.handle().run_command(update).session(&mut *session).await?;
        check_statements("changing the vault", &answer)?;
    }
    if !plan.keyed.is_empty() {
        let entries: Vec<_> =
            plan.keyed.iter().map(|(stream, key, claims)| keyed(stream, key, claims)).collect();
        let entries = entries.into_iter().collect::<Result<Vec<_>, _>>()?;
        db.vault().insert_many(&entries).session(&mut *session).await?;
    }
    let events = plan.events.iter().map(from_event).collect::<Result<Vec<_>, _>>()?;
    db.events().insert_many(&events).session(&mut *session).await?;
    idempotency::write(db, session, &plan.first_results).await
}

/// The changes to existing vault entries, in the order in which they must happen.
fn vault_changes(plan: &Plan) -> Vec<Document> {
    let released = plan.released.iter().map(|(stream, claims)| {
        doc! { "q": { "_id": stream.as_str() }, "u": release(claims) }
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

/// Takes claims away, and the field with the last of them: the unique index admits a single empty list.
fn release(claims: &[ClaimHash]) -> Vec<Document> {
    let kept =
        doc! { "$filter": { "input": "$claims", "cond": { "$not": { "$in": ["$$this", hashes(claims)] } } } };
    vec![
        doc! { "$set": { "claims": kept } },
        doc! { "$set": { "claims": { "$cond": [{ "$eq": ["$claims", []] }, "$$REMOVE", "$claims"] } } },
    ]
}

/// A new vault entry. One without claims has no field for them, as the sparse index needs it.
fn keyed(stream: &StreamId, key: &[u8], claims: &[ClaimHash]) -> Result<RawDocumentBuf, StoreError> {
    let mut entry = doc! { "_id": stream.as_str(), "key": binary(key) };
    if !claims.is_empty() {
        entry.insert("claims", hashes(claims));
    }
    raw(&entry)
}

//! Commits a batch: reads the preconditions, plans and writes in one transaction.

use jiff::Timestamp;
use rusqlite::{Connection, Transaction, params};
use store::append::AppendResult;
use store::commit_planner::{Batch, CommitPlan};
use store::key_store::ClaimHash;
use store::{Position, StreamId};

use crate::deliveries;
use crate::error::SqliteError;
use crate::events::insert_events;
use crate::head::write_head;
use crate::idempotency;
use crate::preconditions::read_preconditions;
use crate::sessions;
use crate::transaction::{self, begin};

/// Commits a batch; returns the result of each append, and the position and time of the head.
pub(crate) fn commit(
    connection: &mut Connection,
    batch: &Batch,
) -> Result<(Vec<AppendResult>, Position, Timestamp), SqliteError> {
    let transaction = begin(connection)?;
    let plan = batch.plan(read_preconditions(&transaction, batch)?);
    if !plan.events.is_empty() {
        write_plan(&transaction, &plan)?;
    }
    transaction::commit(&transaction)?;
    Ok((plan.results, plan.head.position, plan.head.at))
}

fn write_plan(transaction: &Transaction<'_>, plan: &CommitPlan) -> Result<(), SqliteError> {
    let CommitPlan {
        results: _,
        released,
        erased,
        new_keys,
        taken,
        ended_sessions,
        events,
        recorded_results,
        head,
    } = plan;
    let mut release = transaction.prepare_cached("DELETE FROM claims WHERE claim = ?1 AND stream = ?2")?;
    for (stream, claims) in released {
        for claim in claims {
            release.execute(params![claim.as_bytes(), stream.as_str()])?;
        }
    }
    erase(transaction, erased)?;
    let mut key = transaction.prepare_cached("INSERT INTO vault (stream, key, erased) VALUES (?1, ?2, 0)")?;
    for (stream, wrapped, _) in new_keys {
        key.execute(params![stream.as_str(), wrapped])?;
    }
    let new_claims =
        new_keys.iter().flat_map(|(stream, _, claims)| claims.iter().map(move |claim| (claim, stream)));
    let taken = taken.iter().flat_map(|(stream, claims)| claims.iter().map(move |claim| (claim, stream)));
    take(transaction, new_claims.chain(taken).collect())?;
    for (stream, ended) in ended_sessions {
        sessions::end(transaction, stream, ended)?;
    }
    insert_events(transaction, events)?;
    idempotency::write(transaction, recorded_results)?;
    write_head(transaction, head)
}

fn erase(transaction: &Transaction<'_>, streams: &[StreamId]) -> Result<(), SqliteError> {
    let mut forget = transaction.prepare_cached(
        "INSERT INTO vault (stream, key, erased) VALUES (?1, NULL, 1)
         ON CONFLICT (stream) DO UPDATE SET key = NULL, erased = 1",
    )?;
    let mut free = transaction.prepare_cached("DELETE FROM claims WHERE stream = ?1")?;
    for stream in streams {
        forget.execute([stream.as_str()])?;
        free.execute([stream.as_str()])?;
        deliveries::delete(transaction, stream)?;
    }
    Ok(())
}

/// Claims are random bytes; in sorted order, those of the same B-tree page are written together.
fn take(transaction: &Transaction<'_>, mut claims: Vec<(&ClaimHash, &StreamId)>) -> Result<(), SqliteError> {
    claims.sort_unstable();
    let mut take = transaction.prepare_cached("INSERT INTO claims (claim, stream) VALUES (?1, ?2)")?;
    for (claim, stream) in claims {
        take.execute(params![claim.as_bytes(), stream.as_str()])?;
    }
    Ok(())
}

//! Carrying out a batch: one transaction that reads the facts, has them judged and writes the plan.

use rusqlite::{Connection, ErrorCode, Transaction, TransactionBehavior, params};
use store::backend::{AppendResult, CommitPlan, Head};
use store::commit_planner::Batch;
use store::key_store::ClaimHash;
use store::{Position, StreamId};

use crate::error::SqliteError;
use crate::event_row::insert_events;
use crate::idempotency;
use crate::preconditions::read_preconditions;

/// Runs a batch; gives the verdicts and the position of the head after it.
pub(crate) fn commit(
    connection: &mut Connection,
    batch: &Batch,
) -> Result<(Vec<AppendResult>, Position), SqliteError> {
    // IMMEDIATE: the only writer from here on, so what is read stays true.
    let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
    let plan = batch.plan(read_preconditions(&transaction, batch)?);
    if !plan.events.is_empty() {
        write_plan(&transaction, &plan)?;
    }
    finish(&transaction)?;
    Ok((plan.results, plan.head.position))
}

/// Commits, and tells apart how it can fail.
pub(crate) fn finish(transaction: &Transaction<'_>) -> Result<(), SqliteError> {
    match transaction.execute_batch("COMMIT") {
        Ok(()) => Ok(()),
        // Still open, so not committed: dropping the transaction rolls it back.
        Err(error) if !transaction.is_autocommit() => Err(error.into()),
        // SQLite has rolled it back. A disk is full before the last page of a commit is written, never after.
        Err(error) if error.sqlite_error_code() == Some(ErrorCode::DiskFull) => Err(error.into()),
        // SQLite has rolled it back as well, but if what failed came after the last page was written (such as the sync
        // of the file), a crash before the next commit would find the transaction whole.
        Err(error) => Err(SqliteError::UnknownCommit(error)),
    }
}

fn write_plan(transaction: &Transaction<'_>, plan: &CommitPlan) -> Result<(), SqliteError> {
    let CommitPlan { results: _, released, erased, new_keys, taken, events, recorded_results, head } = plan;
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
    }
    Ok(())
}

/// Claims are random bytes: sorted, those of one page are written together.
fn take(transaction: &Transaction<'_>, mut claims: Vec<(&ClaimHash, &StreamId)>) -> Result<(), SqliteError> {
    claims.sort_unstable();
    let mut take = transaction.prepare_cached("INSERT INTO claims (claim, stream) VALUES (?1, ?2)")?;
    for (claim, stream) in claims {
        take.execute(params![claim.as_bytes(), stream.as_str()])?;
    }
    Ok(())
}

/// Writes the head of the log.
pub(crate) fn write_head(transaction: &Transaction<'_>, head: &Head) -> Result<(), SqliteError> {
    let mut statement = transaction.prepare_cached(
        "INSERT OR REPLACE INTO head (one, position, at, root, frontier, note) VALUES (1, ?1, ?2, ?3, ?4, ?5)",
    )?;
    statement.execute(params![
        head.position.to_i64(),
        head.at.as_millisecond(),
        head.root,
        head.frontier.to_bytes(),
        head.note
    ])?;
    Ok(())
}

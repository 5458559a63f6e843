//! Renewals of sessions, as many in one transaction as wait for the writer.

use std::sync::{Mutex, MutexGuard, PoisonError};

use jiff::Timestamp;
use rusqlite::{Connection, Transaction, TransactionBehavior, params};
use store::StreamId;
use store::sessions::{SessionRenewal, renewal_time};
use tokio::sync::oneshot;

use crate::columns::{signed, timestamp};
use crate::error::SqliteError;
use crate::relaxed_durability::RelaxedDurability;

/// When a session of the stream was renewed last.
pub(crate) fn latest_renewal(
    transaction: &Transaction<'_>,
    stream: &StreamId,
) -> Result<Option<Timestamp>, SqliteError> {
    let mut latest = transaction.prepare_cached("SELECT MAX(renewed_at) FROM sessions WHERE stream = ?1")?;
    let latest: Option<i64> = latest.query_row([stream.as_str()], |row| row.get(0))?;
    latest.map(timestamp).transpose()
}

/// Renewals that wait for the writer. The first job that runs does all of them in one transaction.
#[derive(Default)]
pub(crate) struct Renewals(Mutex<Waiting>);

#[derive(Default)]
struct Waiting {
    renewals: Vec<(u64, SessionRenewal, oneshot::Sender<bool>)>,
    added: u64,
}

impl Renewals {
    pub(crate) fn add(&self, renewal: &SessionRenewal) -> (u64, oneshot::Receiver<bool>) {
        let (sender, answer) = oneshot::channel();
        let mut waiting = self.waiting();
        waiting.added += 1;
        let number = waiting.added;
        waiting.renewals.push((number, renewal.clone(), sender));
        (number, answer)
    }

    pub(crate) fn withdraw(&self, number: u64) {
        self.waiting().renewals.retain(|(other, ..)| *other != number);
    }

    /// Does all that wait, and answers them. After an error they wait on: each caller has a job of its own.
    pub(crate) fn renew(&self, connection: &Connection) -> Result<(), SqliteError> {
        if self.waiting().renewals.is_empty() {
            return Ok(());
        }
        // If a power failure undoes it, the token that it gave is still authentic, and renews the session.
        let connection = RelaxedDurability::new(connection)?;
        let transaction = Transaction::new_unchecked(&connection, TransactionBehavior::Immediate)?;
        let renewals = std::mem::take(&mut self.waiting().renewals);
        let results = renewals.iter().map(|(_, renewal, _)| renew(&transaction, renewal));
        match results.collect::<Result<Vec<_>, _>>().and_then(|done| Ok((transaction.commit()?, done))) {
            Ok(((), done)) => {
                for ((.., sender), is_renewed) in renewals.into_iter().zip(done) {
                    // Fails if the caller was cancelled.
                    let _sent = sender.send(is_renewed);
                }
                Ok(())
            }
            Err(error) => {
                self.waiting().renewals.extend(renewals);
                Err(error)
            }
        }
    }

    fn waiting(&self) -> MutexGuard<'_, Waiting> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Whether the expected generation was stored.
fn renew(transaction: &Transaction<'_>, renewal: &SessionRenewal) -> Result<bool, SqliteError> {
    let SessionRenewal { id, stream, from, to, rotation, renewed_at, expires_at } = renewal;
    let renewed_at = renewal_time(*renewed_at, latest_renewal(transaction, stream)?);
    let sql = "UPDATE sessions SET generation = ?3, rotation = ?4, renewed_at = ?5, expires_at = ?6
               WHERE id = ?1 AND generation = ?2";
    let changed = transaction.prepare_cached(sql)?.execute(params![
        id.hyphenated().to_string(),
        signed(*from),
        signed(*to),
        rotation.to_string(),
        renewed_at.as_millisecond(),
        expires_at.as_millisecond()
    ])?;
    Ok(changed == 1)
}

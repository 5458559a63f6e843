//! Sessions.

use std::sync::Arc;

use async_trait::async_trait;
use jiff::Timestamp;
use rusqlite::{OptionalExtension, Row, Transaction, params};
use serde_json::Value;
use store::key_store::KeyEntry;
use store::sessions::{
    EndSessions, SessionRecord, SessionRenewal, SessionStore, renewal_time, superfluous_sessions,
};
use store::{Corruption, StoreError, StreamId, WriteError};
use uuid::Uuid;

use crate::columns::{row_limit, signed, stream_id, timestamp, unsigned};
use crate::error::SqliteError;
use crate::key_store::{vault_entry, vault_statement};
use crate::session_renewals::latest_renewal;
use crate::sqlite_store::SqliteStore;
use crate::transaction::begin;
use crate::worker_pool::worker_stopped;

const SELECT: &str =
    "SELECT id, stream, \"grant\", generation, rotation, renewed_at, expires_at FROM sessions";

#[async_trait]
impl SessionStore for SqliteStore {
    async fn open_session(&self, record: &SessionRecord) -> Result<(), WriteError> {
        let record = record.clone();
        let opened = self.write(move |connection| {
            let transaction = begin(connection)?;
            let is_open = open(&transaction, &record)?;
            transaction.commit()?;
            Ok(is_open)
        });
        if opened.await? { Ok(()) } else { Err(WriteError::Conflict) }
    }

    async fn session(&self, id: Uuid) -> Result<Option<SessionRecord>, StoreError> {
        self.read(move |connection| {
            let mut statement = connection.prepare_cached(&format!("{SELECT} WHERE id = ?1"))?;
            let found = statement.query_row([text(id)], StoredSession::read).optional()?;
            found.map(StoredSession::decode).transpose()
        })
        .await
    }

    async fn sessions_of(&self, stream: &StreamId) -> Result<Vec<SessionRecord>, StoreError> {
        let stream = stream.clone();
        self.read(move |connection| {
            let mut statement =
                connection.prepare_cached(&format!("{SELECT} WHERE stream = ?1 ORDER BY id"))?;
            let found = statement.query_map([stream.as_str()], StoredSession::read)?;
            found.map(|session| session?.decode()).collect()
        })
        .await
    }

    async fn renew_session(&self, renewal: &SessionRenewal) -> Result<(), WriteError> {
        let (renewals, (number, answer)) = (Arc::clone(&self.renewals), self.renewals.add(renewal));
        let all = Arc::clone(&renewals);
        if let Err(error) = self.write(move |connection| all.renew(connection)).await {
            renewals.withdraw(number);
            return Err(error.into());
        }
        let is_renewed = answer.await.map_err(|_| worker_stopped())?;
        if is_renewed { Ok(()) } else { Err(WriteError::Conflict) }
    }

    async fn purge_sessions(&self, before: Timestamp, limit: usize) -> Result<usize, StoreError> {
        self.write(move |connection| {
            let sql = "DELETE FROM sessions
                       WHERE id IN (SELECT id FROM sessions WHERE expires_at < ?1 LIMIT ?2)";
            let mut delete = connection.prepare_cached(sql)?;
            Ok(delete.execute(params![before.as_millisecond(), row_limit(limit)])?)
        })
        .await
    }
}

/// Whether the stream has a data key.
fn open(transaction: &Transaction<'_>, record: &SessionRecord) -> Result<bool, SqliteError> {
    let entry = vault_entry(&mut vault_statement(transaction)?, &record.stream)?;
    if !matches!(entry, Some(KeyEntry::Key(_))) {
        return Ok(false);
    }
    let SessionRecord { id, stream, grant, generation, rotation, renewed_at, expires_at } = record;
    let renewed_at = renewal_time(*renewed_at, latest_renewal(transaction, stream)?);
    let sql = "INSERT INTO sessions (id, stream, \"grant\", generation, rotation, renewed_at, expires_at)
               VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7)";
    transaction.prepare_cached(sql)?.execute(params![
        text(*id),
        stream.as_str(),
        grant.to_string(),
        signed(*generation),
        rotation.to_string(),
        renewed_at.as_millisecond(),
        expires_at.as_millisecond()
    ])?;
    let mut of_stream =
        transaction.prepare_cached("SELECT renewed_at, id FROM sessions WHERE stream = ?1")?;
    let found = of_stream.query_map([stream.as_str()], |row| Ok((row.get(0)?, row.get::<_, String>(1)?)))?;
    let found = found.map(|session| {
        let (renewed_at, id): (i64, String) = session?;
        Ok((timestamp(renewed_at)?, parse_id(&id)?))
    });
    let found = found.collect::<Result<Vec<_>, SqliteError>>()?;
    for id in superfluous_sessions(found) {
        transaction.prepare_cached("DELETE FROM sessions WHERE id = ?1")?.execute([text(id)])?;
    }
    Ok(true)
}

/// Ends sessions in the transaction of a commit.
pub(crate) fn end(
    transaction: &Transaction<'_>,
    stream: &StreamId,
    ended: &EndSessions,
) -> Result<(), SqliteError> {
    match ended {
        EndSessions::None => {}
        EndSessions::One(id) => {
            let sql = "DELETE FROM sessions WHERE stream = ?1 AND id = ?2";
            transaction.prepare_cached(sql)?.execute(params![stream.as_str(), text(*id)])?;
        }
        EndSessions::All => {
            transaction
                .prepare_cached("DELETE FROM sessions WHERE stream = ?1")?
                .execute([stream.as_str()])?;
        }
        EndSessions::AllBut(kept) => {
            let sql = "DELETE FROM sessions WHERE stream = ?1 AND id != ?2";
            transaction.prepare_cached(sql)?.execute(params![stream.as_str(), text(kept.id)])?;
            let sql = "UPDATE sessions SET \"grant\" = ?3 WHERE stream = ?1 AND id = ?2";
            let grant = kept.grant.to_string();
            transaction.prepare_cached(sql)?.execute(params![stream.as_str(), text(kept.id), grant])?;
        }
    }
    Ok(())
}

struct StoredSession {
    id: String,
    stream: String,
    grant: String,
    generation: i64,
    rotation: String,
    renewed_at: i64,
    expires_at: i64,
}

impl StoredSession {
    fn read(row: &Row<'_>) -> rusqlite::Result<Self> {
        Ok(Self {
            id: row.get(0)?,
            stream: row.get(1)?,
            grant: row.get(2)?,
            generation: row.get(3)?,
            rotation: row.get(4)?,
            renewed_at: row.get(5)?,
            expires_at: row.get(6)?,
        })
    }

    fn decode(self) -> Result<SessionRecord, SqliteError> {
        Ok(SessionRecord {
            id: parse_id(&self.id)?,
            stream: stream_id(self.stream)?,
            grant: parse(&self.grant),
            generation: unsigned(self.generation, "the generation of a session")?,
            rotation: parse(&self.rotation),
            renewed_at: timestamp(self.renewed_at)?,
            expires_at: timestamp(self.expires_at)?,
        })
    }
}

/// What is no JSON has no code either, and is refused.
fn parse(json: &str) -> Value {
    serde_json::from_str(json).unwrap_or_default()
}

fn text(id: Uuid) -> String {
    id.hyphenated().to_string()
}

fn parse_id(id: &str) -> Result<Uuid, SqliteError> {
    Uuid::parse_str(id).map_err(|error| Corruption::invalid("the id of a session", error).into())
}

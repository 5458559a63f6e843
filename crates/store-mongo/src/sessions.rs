//! Sessions.

use async_trait::async_trait;
use jiff::Timestamp;
use mongodb::ClientSession;
use mongodb::bson::{Document, RawDocument, doc};
use serde_json::Value;
use store::sessions::{
    EndSessions, SessionRecord, SessionRenewal, SessionStore, renewal_time, superfluous_sessions,
};
use store::{StoreError, StreamId, WriteError};
use uuid::Uuid;

use crate::connection::Db;
use crate::detached::{REQUEST_TIMEOUT, spawn_detached, spawn_with_timeout};
use crate::document_reader::{DocumentReader, date, raw};
use crate::error::{MongoError, check_write_errors, context};
use crate::find::find;
use crate::mongo_store::MongoStore;
use crate::transaction::{ONE_REPLY, TransactionBody, collect_all, inner_error, run_transaction};

/// More than any stream keeps.
const MAX_FOUND: usize = 1_000;
const READING: &str = "reading a session";

#[async_trait]
impl SessionStore for MongoStore {
    async fn open_session(&self, record: &SessionRecord) -> Result<(), WriteError> {
        let (db, body) = (self.connection.work.clone(), OpenSession(record.clone()));
        let opened = spawn_detached(async move { run_transaction(&db, body).await.map_err(inner_error) });
        if opened.await? { Ok(()) } else { Err(WriteError::Conflict) }
    }

    async fn session(&self, id: Uuid) -> Result<Option<SessionRecord>, StoreError> {
        let (db, by_id) = (self.connection.work.clone(), doc! { "_id": text(id) });
        spawn_with_timeout(READING, REQUEST_TIMEOUT, async move {
            Ok(find(&db, &db.sessions(), READING, by_id, doc! {}, 1, to_record).await?.pop())
        })
        .await
    }

    async fn sessions_of(&self, stream: &StreamId) -> Result<Vec<SessionRecord>, StoreError> {
        let (db, by_stream) = (self.connection.work.clone(), doc! { "stream": stream.as_str() });
        spawn_with_timeout(READING, REQUEST_TIMEOUT, async move {
            find(&db, &db.sessions(), READING, by_stream, doc! { "_id": 1 }, MAX_FOUND, to_record).await
        })
        .await
    }

    async fn renew_session(&self, renewal: &SessionRenewal) -> Result<(), WriteError> {
        let (db, SessionRenewal { id, stream, from, to, rotation, renewed_at, expires_at }) =
            (self.connection.work.clone(), renewal.clone());
        let stored = doc! { "_id": text(id), "generation": number(from) };
        let what = "renewing a session";
        let renewed = spawn_with_timeout(what, REQUEST_TIMEOUT, async move {
            let (of_stream, order) = (doc! { "stream": stream.as_str() }, doc! { "renewed_at": -1 });
            let time =
                |document: &RawDocument| DocumentReader::new(document, "a session").timestamp("renewed_at");
            let latest = find(&db, &db.sessions(), what, of_stream, order, 1, time).await?;
            let set = doc! { "$set": {
                "generation": number(to), "rotation": rotation.to_string(),
                "renewed_at": date(renewal_time(renewed_at, latest)), "expires_at": date(expires_at),
            } };
            let updated = db.sessions().update_one(stored, set).await.map_err(context(what))?;
            Ok(updated.matched_count == 1)
        });
        if renewed.await? { Ok(()) } else { Err(WriteError::Conflict) }
    }

    async fn purge_sessions(&self, before: Timestamp, limit: usize) -> Result<usize, StoreError> {
        let db = self.connection.work.clone();
        let what = "deleting expired sessions";
        spawn_with_timeout(what, REQUEST_TIMEOUT, async move {
            let expired = doc! { "expires_at": { "$lt": date(before) } };
            let order = doc! { "expires_at": 1 };
            let id = |document: &RawDocument| {
                Ok(DocumentReader::new(document, "a session").text("_id")?.to_owned())
            };
            let ids = find(&db, &db.sessions(), what, expired.clone(), order, limit, id).await?;
            let mut delete = expired;
            delete.insert("_id", doc! { "$in": &ids });
            db.sessions().delete_many(delete).await.map_err(context(what))?;
            Ok(ids.len())
        })
        .await
    }
}

struct OpenSession(SessionRecord);

#[async_trait]
impl TransactionBody for OpenSession {
    /// Whether the stream has a data key.
    type Output = bool;

    fn description(&self) -> String {
        "opening a session".to_owned()
    }

    async fn attempt(&self, db: &Db, session: &mut ClientSession) -> Result<bool, MongoError> {
        let SessionRecord { id, stream, grant, generation, rotation, renewed_at, expires_at } = &self.0;
        // Written, not only read: an erasure that commits at the same moment, and has not seen the session,
        // then conflicts with this transaction.
        let with_key = doc! { "_id": stream.as_str(), "key": { "$exists": true } };
        let touch = doc! { "$inc": { "touched": 1_i64 } };
        if db.vault().update_one(with_key, touch).session(&mut *session).await?.matched_count == 0 {
            return Ok(false);
        }
        let sessions = db.sessions();
        let fields = doc! { "renewed_at": 1 };
        let of_stream =
            sessions.find(doc! { "stream": stream.as_str() }).projection(fields).batch_size(ONE_REPLY);
        let found = collect_all(of_stream.session(&mut *session).await?, &mut *session).await?;
        let found = found.iter().map(|document| {
            let fields = DocumentReader::new(document, "a session");
            Ok((fields.timestamp("renewed_at")?, id_of(&fields)?))
        });
        let mut found = found.collect::<Result<Vec<_>, StoreError>>()?;
        let renewed_at = renewal_time(*renewed_at, found.iter().map(|(renewed_at, _)| *renewed_at));
        let new = doc! {
            "_id": text(*id), "stream": stream.as_str(), "grant": grant.to_string(),
            "generation": number(*generation), "rotation": rotation.to_string(),
            "renewed_at": date(renewed_at), "expires_at": date(*expires_at),
        };
        sessions.insert_one(raw(&new)?).session(&mut *session).await?;
        found.push((renewed_at, *id));
        let superfluous: Vec<_> = superfluous_sessions(found).into_iter().map(text).collect();
        if !superfluous.is_empty() {
            sessions.delete_many(doc! { "_id": { "$in": superfluous } }).session(&mut *session).await?;
        }
        Ok(true)
    }
}

/// Ends sessions in the transaction of a commit.
pub(crate) async fn end(
    db: &Db,
    session: &mut ClientSession,
    ended: &[(StreamId, EndSessions)],
) -> Result<(), MongoError> {
    if ended.is_empty() {
        return Ok(());
    }
    let deletes: Vec<_> = ended.iter().filter_map(|(stream, ended)| deletion(stream, ended)).collect();
    let updates: Vec<_> = ended.iter().filter_map(|(stream, ended)| update(stream, ended)).collect();
    let name = db.sessions().name().to_owned();
    if !deletes.is_empty() {
        let command = doc! { "delete": &name, "deletes": deletes };
        let answer = db.handle().run_command(command).session(&mut *session).await?;
        check_write_errors("ending sessions", &answer)?;
    }
    if !updates.is_empty() {
        let command = doc! { "update": &name, "updates": updates };
        let answer = db.handle().run_command(command).session(&mut *session).await?;
        check_write_errors("keeping a session", &answer)?;
    }
    Ok(())
}

fn deletion(stream: &StreamId, ended: &EndSessions) -> Option<Document> {
    let stream = stream.as_str();
    let query = match ended {
        EndSessions::None => return None,
        EndSessions::One(id) => doc! { "_id": text(*id), "stream": stream },
        EndSessions::All => doc! { "stream": stream },
        EndSessions::AllBut(kept) => doc! { "stream": stream, "_id": { "$ne": text(kept.id) } },
    };
    Some(doc! { "q": query, "limit": 0 })
}

fn update(stream: &StreamId, ended: &EndSessions) -> Option<Document> {
    let EndSessions::AllBut(kept) = ended else { return None };
    let query = doc! { "_id": text(kept.id), "stream": stream.as_str() };
    Some(doc! { "q": query, "u": { "$set": { "grant": kept.grant.to_string() } } })
}

fn to_record(document: &RawDocument) -> Result<SessionRecord, StoreError> {
    let fields = DocumentReader::new(document, "a session");
    Ok(SessionRecord {
        id: id_of(&fields)?,
        stream: StreamId::new(fields.text("stream")?)
            .map_err(|_| fields.invalid("stream", "a stream name"))?,
        grant: parse(fields.text("grant")?),
        generation: fields.number("generation")?,
        rotation: parse(fields.text("rotation")?),
        renewed_at: fields.timestamp("renewed_at")?,
        expires_at: fields.timestamp("expires_at")?,
    })
}

/// What is no JSON has no code either, and is refused.
fn parse(json: &str) -> Value {
    serde_json::from_str(json).unwrap_or_default()
}

fn id_of(fields: &DocumentReader<'_>) -> Result<Uuid, StoreError> {
    Uuid::parse_str(fields.text("_id")?).map_err(|_| fields.invalid("_id", "a UUID"))
}

fn text(id: Uuid) -> String {
    id.hyphenated().to_string()
}

fn number(number: u64) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}

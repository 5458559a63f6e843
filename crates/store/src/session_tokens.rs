//! Sessions as the service uses them: authenticated by message authentication codes (MAC), so that a session which
//! was planted or edited in the database is none, with the client sealed under the data key of the user, and with
//! refresh tokens that are derived: concurrent renewals of one generation give the same successor.

use std::fmt;
use std::sync::Arc;

use aws_lc_rs::constant_time;
use base64::Engine;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use jiff::Timestamp;
use serde_json::{Map, Value, json};
use uuid::Uuid;

use crate::error::{Corruption, StoreError, WriteError};
use crate::event::StreamId;
use crate::event_store::EventStore;
use crate::key_store::{KeyEntry, SealedContext};
use crate::mac::{MacKey, push_bytes, push_value};
use crate::read::unwrap_key;
use crate::sessions::{KeptSession, SessionRecord, SessionRenewal, SessionStore};

/// The beginning of every refresh token, by which leaked ones can be found.
const TOKEN_PREFIX: &str = "aegis_rt_";
const ID_BYTES: usize = 16;
const GENERATION_BYTES: usize = 8;
/// The length of a refresh token before it is encoded: id, generation, HMAC-SHA-256.
const TOKEN_BYTES: usize = ID_BYTES + GENERATION_BYTES + 32;
/// The field of a grant and of a rotation with its code.
const MAC: &str = "mac";
/// Sessions deleted at once by the purge.
const PURGE_BATCH: usize = 1_000;

/// A session to be opened.
#[derive(Clone)]
pub struct NewSession {
    /// The stream of the user.
    pub stream: StreamId,
    /// The version of the stream at the login.
    pub version: u64,
    /// When it ends, however often it is renewed.
    pub ends_at: Timestamp,
    /// When it ends unless it is renewed.
    pub expires_at: Timestamp,
    /// The address of the client.
    pub address: Option<String>,
    /// What the client called itself.
    pub user_agent: Option<String>,
}

/// An authentic session, open or expired.
#[derive(Clone)]
pub struct Session {
    /// The id.
    pub id: Uuid,
    /// The stream of the user.
    pub stream: StreamId,
    /// The version of the stream at the login, or at the last change that kept the session.
    pub version: u64,
    /// The epoch of the log at the login.
    pub epoch: u64,
    /// When it was opened.
    pub created_at: Timestamp,
    /// When it ends, however often it is renewed.
    pub ends_at: Timestamp,
    /// The number of renewals.
    pub generation: u64,
    /// When it was last renewed, or opened.
    pub refreshed_at: Timestamp,
    /// When it ends unless it is renewed.
    pub expires_at: Timestamp,
    /// The address of the client that opened it. Only in lists.
    pub address: Option<String>,
    /// What that client called itself. Only in lists.
    pub user_agent: Option<String>,
}

/// The client is personal.
impl fmt::Debug for Session {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "Session({} of {}, generation {})", self.id, self.stream, self.generation)
    }
}

/// The sessions of a database. Clones share them.
#[derive(Clone)]
pub struct Sessions(Arc<Inner>);

struct Inner {
    store: EventStore,
    records: Arc<dyn SessionStore>,
    records_key: MacKey,
    tokens_key: MacKey,
}

impl Sessions {
    /// The sessions in the database of that log.
    #[must_use]
    pub fn new(store: EventStore, records: Arc<dyn SessionStore>) -> Self {
        let records_key = MacKey::derive(store.claim_key(), "session-record-key");
        let tokens_key = MacKey::derive(store.claim_key(), "refresh-token-key");
        Self(Arc::new(Inner { store, records, records_key, tokens_key }))
    }

    /// Opens a session.
    ///
    /// # Errors
    /// [`WriteError::Conflict`] if the user was erased.
    pub async fn open(&self, new: NewSession) -> Result<Session, WriteError> {
        let now = self.0.store.clock().now();
        let session = Session {
            id: self.0.store.env().uuid(),
            stream: new.stream,
            version: new.version,
            epoch: self.0.store.identity().epoch,
            created_at: now,
            ends_at: new.ends_at,
            generation: 0,
            refreshed_at: now,
            expires_at: new.expires_at,
            address: new.address,
            user_agent: new.user_agent,
        };
        let client = self.seal_client(&session).await?;
        let record = SessionRecord {
            id: session.id,
            stream: session.stream.clone(),
            grant: self.grant(&session, client.as_deref()),
            generation: 0,
            rotation: self.rotation(&session),
            renewed_at: now,
            expires_at: session.expires_at,
        };
        self.0.records.open_session(&record).await?;
        Ok(session)
    }

    /// A session, as new as rows of read models are: one that has ended is not found, on any node. Its client is
    /// not decrypted.
    ///
    /// # Errors
    /// [`StoreError`] if it cannot be read.
    pub async fn find(&self, id: Uuid) -> Result<Option<Session>, StoreError> {
        Ok(self.record(id).await?.and_then(|record| self.authentic(&record)))
    }

    /// The sessions of a user, as new as [`Sessions::find`], the last renewed one first, with their clients.
    ///
    /// # Errors
    /// [`StoreError`] if they cannot be read.
    pub async fn of(&self, stream: &StreamId) -> Result<Vec<Session>, StoreError> {
        let read = || self.0.records.sessions_of(stream);
        let records = self.0.store.read_confirmed("the sessions of a user", read).await?;
        let mut authentic: Vec<_> = records
            .iter()
            .filter_map(|record| Some((self.authentic(record)?, sealed_client(record))))
            .collect();
        if authentic.iter().any(|(_, sealed)| sealed.is_some())
            && let Some(key) = self.data_key(stream).await?
        {
            for (session, sealed) in &mut authentic {
                let Some(sealed) = sealed else { continue };
                let client = key.open(context(session), sealed);
                let client = client.map_err(|error| Corruption::invalid("the client of a session", error))?;
                let text = |name| client.get(name).and_then(Value::as_str).map(str::to_owned);
                (session.address, session.user_agent) = (text("address"), text("user_agent"));
            }
        }
        let mut sessions: Vec<_> = authentic.into_iter().map(|(session, _)| session).collect();
        sessions.sort_by_key(|session| std::cmp::Reverse((session.refreshed_at, session.id)));
        Ok(sessions)
    }

    /// Renews a session: it gets the generation after `used`, the one of the refresh token that was presented. That
    /// is the stored one, except after a power failure that undid the last renewal.
    ///
    /// # Errors
    /// [`WriteError::Conflict`] if it was renewed or has ended meanwhile.
    pub async fn renew(
        &self,
        session: &Session,
        used: u64,
        expires_at: Timestamp,
    ) -> Result<Session, WriteError> {
        let refreshed_at = self.0.store.clock().now();
        let renewed =
            Session { generation: used.saturating_add(1), refreshed_at, expires_at, ..session.clone() };
        let renewal = SessionRenewal {
            id: session.id,
            stream: session.stream.clone(),
            from: session.generation,
            to: renewed.generation,
            rotation: self.rotation(&renewed),
            renewed_at: refreshed_at,
            expires_at,
        };
        self.0.records.renew_session(&renewal).await?;
        Ok(renewed)
    }

    /// Prepares a commit that keeps this session of the user although it revokes what was issued before `version`;
    /// `None` if the session has ended.
    ///
    /// # Errors
    /// [`StoreError`] if it cannot be read.
    pub async fn keep(
        &self,
        stream: &StreamId,
        id: Uuid,
        version: u64,
    ) -> Result<Option<KeptSession>, StoreError> {
        let Some(record) = self.record(id).await? else { return Ok(None) };
        let Some(session) = self.authentic(&record).filter(|session| session.stream == *stream) else {
            return Ok(None);
        };
        let client = record.grant.get("client").and_then(Value::as_str);
        Ok(Some(KeptSession { id, grant: self.grant(&Session { version, ..session }, client) }))
    }

    /// The record of a session, which no deposed primary has answered.
    async fn record(&self, id: Uuid) -> Result<Option<SessionRecord>, StoreError> {
        self.0.store.read_confirmed("a session", || self.0.records.session(id)).await
    }

    /// Deletes the sessions that have expired, in bounded steps; returns how many.
    ///
    /// # Errors
    /// [`StoreError`] if they cannot be deleted, or only partly.
    pub async fn purge(&self) -> Result<usize, StoreError> {
        let (now, mut deleted) = (self.0.store.clock().now(), 0);
        loop {
            let step = self.0.records.purge_sessions(now, PURGE_BATCH).await?;
            deleted += step;
            if step < PURGE_BATCH {
                return Ok(deleted);
            }
            tokio::task::yield_now().await;
        }
    }

    /// The refresh token of a generation.
    #[must_use]
    pub fn refresh_token(&self, id: Uuid, generation: u64) -> String {
        let mut token = [id.as_bytes().as_slice(), &generation.to_be_bytes()].concat();
        token.extend(self.token_code(id, generation));
        format!("{TOKEN_PREFIX}{}", BASE64_URL_SAFE_NO_PAD.encode(token))
    }

    /// Session and generation of an authentic refresh token.
    #[must_use]
    pub fn parse_refresh_token(&self, token: &str) -> Option<(Uuid, u64)> {
        let encoded = token.strip_prefix(TOKEN_PREFIX)?;
        // What is longer is not decoded.
        let decoded =
            (encoded.len() <= TOKEN_BYTES * 4 / 3 + 3).then(|| BASE64_URL_SAFE_NO_PAD.decode(encoded).ok());
        let decoded: [u8; TOKEN_BYTES] = decoded.flatten()?.try_into().ok()?;
        let (id, rest) = decoded.split_first_chunk::<ID_BYTES>()?;
        let (generation, code) = rest.split_first_chunk::<GENERATION_BYTES>()?;
        let (id, generation) = (Uuid::from_bytes(*id), u64::from_be_bytes(*generation));
        let expected = self.token_code(id, generation);
        constant_time::verify_slices_are_equal(code, &expected).ok().map(|()| (id, generation))
    }

    fn token_code(&self, id: Uuid, generation: u64) -> [u8; 32] {
        let mut covered = Vec::new();
        push_bytes(&mut covered, self.0.store.log_id().as_bytes());
        push_bytes(&mut covered, id.as_bytes());
        covered.extend(generation.to_be_bytes());
        self.0.tokens_key.tag(&covered)
    }

    fn grant(&self, session: &Session, client: Option<&str>) -> Value {
        let grant = json!({
            "version": session.version,
            "epoch": session.epoch,
            "created_at": session.created_at.as_millisecond(),
            "ends_at": session.ends_at.as_millisecond(),
            "client": client,
        });
        self.signed(b"grant", session, grant)
    }

    fn rotation(&self, session: &Session) -> Value {
        let rotation = json!({
            "generation": session.generation,
            "refreshed_at": session.refreshed_at.as_millisecond(),
            "expires_at": session.expires_at.as_millisecond(),
        });
        self.signed(b"rotation", session, rotation)
    }

    fn signed(&self, part: &[u8], session: &Session, mut value: Value) -> Value {
        let code = self.0.records_key.sign(&encode(part, session.id, &session.stream, &value));
        if let Value::Object(fields) = &mut value {
            fields.insert(MAC.to_owned(), code.into());
        }
        value
    }

    /// The session of a record; `None`, counted and logged, if it was planted or edited.
    fn authentic(&self, record: &SessionRecord) -> Option<Session> {
        let session = self.verified(record);
        if session.is_none() {
            let finding = Corruption::SessionTampered { session: record.id };
            drop(self.0.store.metrics().tampering().report("session", finding));
        }
        session
    }

    fn verified(&self, record: &SessionRecord) -> Option<Session> {
        let grant = self.verify(b"grant", record, &record.grant)?;
        let rotation = self.verify(b"rotation", record, &record.rotation)?;
        let number = |fields: &Map<String, Value>, name: &str| fields.get(name)?.as_u64();
        let time = |fields: &Map<String, Value>, name: &str| {
            Timestamp::from_millisecond(fields.get(name)?.as_i64()?).ok()
        };
        let generation = number(rotation, "generation")?;
        (generation == record.generation).then_some(())?;
        Some(Session {
            id: record.id,
            stream: record.stream.clone(),
            version: number(grant, "version")?,
            epoch: number(grant, "epoch")?,
            created_at: time(grant, "created_at")?,
            ends_at: time(grant, "ends_at")?,
            generation,
            refreshed_at: time(rotation, "refreshed_at")?,
            expires_at: time(rotation, "expires_at")?,
            address: None,
            user_agent: None,
        })
    }

    fn verify<'a>(
        &self,
        part: &[u8],
        record: &SessionRecord,
        value: &'a Value,
    ) -> Option<&'a Map<String, Value>> {
        let fields = value.as_object()?;
        let code = fields.get(MAC)?.as_str()?;
        let covered = encode(part, record.id, &record.stream, value);
        self.0.records_key.is_code_of(code, &covered).then_some(fields)
    }

    /// Seals the client under the data key of the user; `None` if nothing is known of it.
    async fn seal_client(&self, session: &Session) -> Result<Option<String>, WriteError> {
        let fields = [("address", &session.address), ("user_agent", &session.user_agent)];
        let known =
            fields.into_iter().filter_map(|(name, value)| Some((name.to_owned(), value.clone()?.into())));
        let client: Map<String, Value> = known.collect();
        if client.is_empty() {
            return Ok(None);
        }
        let Some(key) = self.data_key(&session.stream).await? else { return Err(WriteError::Conflict) };
        let sealed = key.seal(context(session), &client, self.0.store.env());
        let sealed = sealed
            .map_err(|error| StoreError::from(Corruption::invalid("the client of a session", error)))?;
        Ok(Some(BASE64_URL_SAFE_NO_PAD.encode(sealed)))
    }

    async fn data_key(&self, stream: &StreamId) -> Result<Option<crate::key_store::DataKey>, StoreError> {
        let entries = self.0.store.backend().key_entries(std::slice::from_ref(stream)).await?;
        let Some(KeyEntry::Key(wrapped)) = entries.get(stream) else { return Ok(None) };
        let masters = self.0.store.master_keys_for(&entries).await;
        unwrap_key(stream, wrapped, &masters).map(Some)
    }
}

/// The sealed client of a session; `None` if nothing is known of it.
fn sealed_client(record: &SessionRecord) -> Option<Vec<u8>> {
    BASE64_URL_SAFE_NO_PAD.decode(record.grant.get("client")?.as_str()?).ok()
}

fn context(session: &Session) -> SealedContext<'_> {
    SealedContext { stream: &session.stream, id: session.id, event_type: "Session", schema: 1 }
}

/// Encodes what a code covers.
fn encode(part: &[u8], id: Uuid, stream: &StreamId, value: &Value) -> Vec<u8> {
    let mut buffer = Vec::new();
    push_bytes(&mut buffer, part);
    push_bytes(&mut buffer, id.as_bytes());
    push_bytes(&mut buffer, stream.as_str().as_bytes());
    for (name, field) in value.as_object().into_iter().flatten().filter(|(name, _)| *name != MAC) {
        push_bytes(&mut buffer, name.as_bytes());
        push_value(&mut buffer, field);
    }
    buffer
}

#[cfg(test)]
mod tests;

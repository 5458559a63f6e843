//! Prepares an append before it is queued: validates it, encrypts personal data with the stream's data key
//! (envelope encryption) and hashes claims, so that the transaction stays short. Preconditions are checked by
//! the commit planner.

use std::collections::{BTreeSet, HashMap};
use std::sync::{Arc, PoisonError, RwLock};

use crate::append::{Append, AppendError, Claim, Guard, StreamWrite};
use crate::cancellation::Cancellation;
use crate::canonical::{MAX_EVENT_BYTES, canonical_event};
use crate::env::Env;
use crate::error::{KeyOwner, StoreError};
use crate::event::{NewEvent, Position, StreamId};
use crate::key_store::{
    ClaimHash, ClaimKey, DataKey, KeyEntry, KeyId, Keyring, MasterKeys, SealedContext, UnwrapError,
};
use crate::prepared::{EventPlacement, KeyUse, PreparedAppend, PreparedEvent, PreparedGuard, PreparedWrite};
use crate::read::{master_key_id, unwrap_key};

/// The largest position in canonical JSON. Sizes are measured with it, since the real position is not known
/// yet.
const MAX_SAFE_POSITION: u64 = (1 << 53) - 1;

/// Encrypts appends with the keys of one process.
pub(crate) struct Encryptor {
    pub(crate) masters: Keyring,
    /// The master key (KEK) that wraps the data keys of new streams, as last read.
    wrapping_key: RwLock<KeyId>,
    pub(crate) claims: ClaimKey,
    pub(crate) env: Env,
}

impl Encryptor {
    pub(crate) fn new(masters: Keyring, wrapping: KeyId, claims: ClaimKey, env: Env) -> Self {
        Self { masters, wrapping_key: RwLock::new(wrapping), claims, env }
    }

    /// Sets the master key that wraps new data keys.
    pub(crate) fn set_wrapping_key(&self, master: KeyId) {
        *self.wrapping_key.write().unwrap_or_else(PoisonError::into_inner) = master;
    }

    fn wrapping_key(&self) -> KeyId {
        *self.wrapping_key.read().unwrap_or_else(PoisonError::into_inner)
    }

    /// Returns the master keys, after loading those needed for these entries and for new data keys.
    pub(crate) async fn master_keys_for(&self, entries: &HashMap<StreamId, KeyEntry>) -> Arc<MasterKeys> {
        self.masters
            .load_missing(entries.values().filter_map(master_key_id).chain([self.wrapping_key()]))
            .await
    }

    /// Encrypts and measures an append; `entries` are the key store entries of the key owners of the streams it
    /// writes to.
    pub(crate) fn encrypt(
        &self,
        append: &Append,
        entries: &HashMap<StreamId, KeyEntry>,
        masters: &MasterKeys,
    ) -> Result<PreparedAppend, AppendError> {
        check_shape(append)?;
        let writes = append
            .writes
            .iter()
            .map(|write| self.write(write, entries.get(&write.stream.key_owner()), masters));
        let mut prepared = PreparedAppend {
            actor: append.actor.clone(),
            request_id: append.request_id.clone(),
            writes: writes.collect::<Result<_, _>>()?,
            guards: append.guards.iter().map(|guard| self.guard(guard)).collect(),
            idempotency: append.idempotency,
            bytes: 0,
            cancellation: Cancellation::default(),
        };
        prepared.bytes = measure(&prepared, self.env.now())?;
        Ok(prepared)
    }

    fn write(
        &self,
        write: &StreamWrite,
        entry: Option<&KeyEntry>,
        masters: &MasterKeys,
    ) -> Result<PreparedWrite, AppendError> {
        let (key, key_use) = self.key(write, entry, masters)?;
        let events = write.events.iter().map(|event| self.event(&write.stream, event, key.as_ref()));
        Ok(PreparedWrite {
            stream: write.stream.clone(),
            expected: write.expected,
            events: events.collect::<Result<_, _>>()?,
            take: write.take.iter().map(|taken| (taken.kind, self.claim(taken))).collect(),
            take_if_free: write.take_if_free.iter().map(|claim| self.claim(claim)).collect(),
            release: write.release.iter().map(|claim| self.claim(claim)).collect(),
            key: key_use,
            erase: write.erase,
            end_sessions: write.end_sessions.clone(),
        })
    }

    fn guard(&self, guard: &Guard) -> PreparedGuard {
        match guard {
            Guard::NotErased(stream) => PreparedGuard::NotErased(stream.clone()),
            Guard::AtVersion(stream, version) => PreparedGuard::AtVersion(stream.clone(), *version),
            Guard::Unclaimed(claim) => PreparedGuard::Unclaimed(claim.kind, self.claim(claim)),
        }
    }

    /// Hashes a claim.
    pub(crate) fn claim(&self, claim: &Claim) -> ClaimHash {
        self.claims.hash(claim.kind, &claim.value)
    }

    /// The data key to encrypt with. A stream that takes a claim also has one, since both are destroyed
    /// together.
    fn key(
        &self,
        write: &StreamWrite,
        entry: Option<&KeyEntry>,
        masters: &MasterKeys,
    ) -> Result<(Option<DataKey>, KeyUse), AppendError> {
        if !write.takes_claims() && write.events.iter().all(|event| event.personal.is_empty()) {
            return Ok((None, KeyUse::None));
        }
        match entry {
            Some(KeyEntry::Erased) => Err(AppendError::Erased { stream: write.stream.key_owner() }),
            Some(KeyEntry::Key(wrapped)) => {
                Ok((Some(unwrap_key(&write.stream.key_owner(), wrapped, masters)?), KeyUse::Existing))
            }
            None if !write.stream.owns_key() => Err(AppendError::no_key_owner(&write.stream)),
            None => {
                let wrapping = self.wrapping_key();
                let master = masters.get(wrapping).ok_or_else(|| {
                    StoreError::key_unavailable(KeyOwner::NewStreams, UnwrapError::UnknownMasterKey(wrapping))
                })?;
                let key = DataKey::generate(&self.env);
                let wrapped = key.wrap(&write.stream, master, &self.env).map_err(encryption_failed)?;
                Ok((Some(key), KeyUse::New(wrapped)))
            }
        }
    }

    fn event(
        &self,
        stream: &StreamId,
        event: &NewEvent,
        key: Option<&DataKey>,
    ) -> Result<PreparedEvent, AppendError> {
        let context =
            SealedContext { stream, id: event.id, event_type: &event.event_type, schema: event.schema };
        let sealed = match key.filter(|_| !event.personal.is_empty()) {
            Some(key) => Some(key.seal(context, &event.personal, &self.env).map_err(encryption_failed)?),
            None => None,
        };
        Ok(PreparedEvent {
            id: event.id,
            event_type: event.event_type.clone(),
            schema: event.schema,
            data: event.data.clone(),
            sealed,
        })
    }
}

fn encryption_failed(error: crate::key_store::DecryptError) -> AppendError {
    AppendError::Invalid(format!("personal data could not be encrypted: {error}"))
}

fn check_shape(append: &Append) -> Result<(), AppendError> {
    let mut streams = BTreeSet::new();
    for write in &append.writes {
        let stream = &write.stream;
        if !streams.insert(stream) {
            return Err(AppendError::Invalid(format!("stream {stream} is written to twice in one append")));
        }
        if write.events.is_empty() {
            return Err(AppendError::Invalid(format!("the write to stream {stream} has no event")));
        }
        if !stream.owns_key() && (write.erase || write.takes_claims()) {
            return Err(AppendError::Invalid(format!(
                "stream {stream} takes no claims and is erased with {}",
                stream.key_owner()
            )));
        }
        if write.erase
            && (write.takes_claims() || write.events.iter().any(|event| !event.personal.is_empty()))
        {
            return Err(AppendError::Invalid(format!(
                "stream {stream} is erased and given personal data at once"
            )));
        }
    }
    if streams.is_empty() {
        return Err(AppendError::Invalid("it writes to no stream".to_owned()));
    }
    Ok(())
}

/// Measures the canonical size of the events at the largest possible position; rejects an event that is too
/// large.
fn measure(append: &PreparedAppend, at: jiff::Timestamp) -> Result<usize, AppendError> {
    let placement =
        EventPlacement { position: Position::new(MAX_SAFE_POSITION), version: MAX_SAFE_POSITION, at };
    let mut total = 0;
    for write in &append.writes {
        for event in &write.events {
            let bytes = canonical_event(&event.to_envelope(append, &write.stream, placement))?.len();
            if bytes > MAX_EVENT_BYTES {
                let event_type = event.event_type.clone();
                return Err(AppendError::TooLarge { event_type, bytes, limit: MAX_EVENT_BYTES });
            }
            total += bytes;
        }
    }
    Ok(total)
}

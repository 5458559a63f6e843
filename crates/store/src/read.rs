//! Completes events read from a backend: rejects gaps, and decrypts personal data unless its data key was
//! destroyed (crypto-shredding). Queries belong to [`backend`](crate::backend).

use std::collections::{BTreeSet, HashMap};

use serde_json::Map;

use crate::backend::Backend;
use crate::error::{Corruption, KeyOwner, StoreError};
use crate::event::{Envelope, PersonalData, Position, StoredEvent, StreamId};
use crate::key_store::{DataKey, KeyEntry, KeyId, Keyring, MasterKey, MasterKeys, SealedContext};

/// Positions have no gaps, so a missing one means that an event was lost or removed.
pub(crate) fn check_contiguous(after: Position, events: &[Envelope]) -> Result<(), StoreError> {
    let mut expected = after;
    for event in events {
        expected = expected.next();
        if event.position != expected {
            return Err(Corruption::MissingEvents { first: expected, last: event.position.previous() }.into());
        }
    }
    Ok(())
}

/// Decrypts events. Data keys are read again for every call and never cached, so that a destroyed key does
/// not survive in memory. Reading them after the events is safe, since an event and its key are committed
/// together.
pub(crate) async fn unseal(
    backend: &dyn Backend,
    masters: &Keyring,
    events: Vec<Envelope>,
) -> Result<Vec<StoredEvent>, StoreError> {
    let streams = sealed_streams(&events);
    let entries = if streams.is_empty() { HashMap::new() } else { backend.key_entries(&streams).await? };
    unseal_with(entries.iter(), masters, events).await
}

/// Leaves out the personal data of events; an erasure remains visible. Nothing is decrypted, so a damaged entry
/// of the key store does not matter: only a tombstone counts.
pub(crate) async fn redact(
    backend: &dyn Backend,
    events: Vec<Envelope>,
) -> Result<Vec<StoredEvent>, StoreError> {
    let streams = sealed_streams(&events);
    let mut entries = HashMap::new();
    if !streams.is_empty() {
        entries = match backend.key_entries(&streams).await {
            Err(StoreError::Corrupt(_)) => readable_entries(backend, &streams).await?,
            read => read?,
        };
    }
    let redacted = events.into_iter().map(|event| {
        let is_erased =
            event.sealed.is_some() && entries.get(&event.stream.key_owner()) == Some(&KeyEntry::Erased);
        let personal = if is_erased { PersonalData::Erased } else { PersonalData::Known(Map::new()) };
        StoredEvent { envelope: event, personal }
    });
    Ok(redacted.collect())
}

/// The entries of these streams that can be read, one by one.
async fn readable_entries(
    backend: &dyn Backend,
    streams: &[StreamId],
) -> Result<HashMap<StreamId, KeyEntry>, StoreError> {
    let mut entries = HashMap::new();
    for stream in streams {
        match backend.key_entries(std::slice::from_ref(stream)).await {
            Err(StoreError::Corrupt(_)) => {}
            read => entries.extend(read?),
        }
    }
    Ok(entries)
}

/// The streams whose data keys encrypt the personal data of these events.
fn sealed_streams(events: &[Envelope]) -> Vec<StreamId> {
    let sealed = events.iter().filter(|event| event.sealed.is_some());
    let streams: BTreeSet<_> = sealed.map(|event| event.stream.key_owner()).collect();
    streams.into_iter().collect()
}

/// As [`unseal`], with the key store entries of the key owners, which were read after the events.
pub(crate) async fn unseal_with<'a>(
    entries: impl Iterator<Item = (&'a StreamId, &'a KeyEntry)> + Clone,
    masters: &Keyring,
    events: Vec<Envelope>,
) -> Result<Vec<StoredEvent>, StoreError> {
    let masters = masters.load_missing(entries.clone().filter_map(|(_, entry)| master_key_id(entry))).await;
    let mut keys = HashMap::new();
    for (stream, entry) in entries {
        keys.insert(stream.clone(), unwrap_entry(stream, entry, &masters)?);
        yield_if_due(keys.len()).await;
    }
    let mut decrypted = Vec::with_capacity(events.len());
    for event in events {
        decrypted.push(decrypt_event(event, &keys)?);
        yield_if_due(decrypted.len()).await;
    }
    Ok(decrypted)
}

/// Yields to other tasks periodically: decrypting thousands of events takes tens of milliseconds.
async fn yield_if_due(done: usize) {
    const INTERVAL: usize = 64;
    if done.is_multiple_of(INTERVAL) {
        tokio::task::yield_now().await;
    }
}

/// The master key (KEK) that wraps the data key of an entry.
pub(crate) fn master_key_id(entry: &KeyEntry) -> Option<KeyId> {
    match entry {
        KeyEntry::Key(wrapped) => MasterKey::id_of(wrapped),
        KeyEntry::Erased => None,
    }
}

/// Unwraps the data key of a stream; `None` if it was destroyed.
fn unwrap_entry(
    stream: &StreamId,
    entry: &KeyEntry,
    masters: &MasterKeys,
) -> Result<Option<DataKey>, StoreError> {
    match entry {
        KeyEntry::Erased => Ok(None),
        KeyEntry::Key(wrapped) => unwrap_key(stream, wrapped, masters).map(Some),
    }
}

/// Unwraps the data key of a stream.
pub(crate) fn unwrap_key(
    stream: &StreamId,
    wrapped: &[u8],
    masters: &MasterKeys,
) -> Result<DataKey, StoreError> {
    DataKey::unwrap(stream, wrapped, masters)
        .map_err(|error| StoreError::key_unavailable(KeyOwner::Stream(stream.clone()), error))
}

fn decrypt_event(
    event: Envelope,
    keys: &HashMap<StreamId, Option<DataKey>>,
) -> Result<StoredEvent, StoreError> {
    let personal = match (&event.sealed, keys.get(&event.stream.key_owner())) {
        (None, _) => PersonalData::Known(Map::new()),
        (Some(_), Some(None)) => PersonalData::Erased,
        (Some(sealed), Some(Some(key))) => {
            let decrypted = key.open(SealedContext::of(&event), sealed);
            let position = event.position;
            PersonalData::Known(decrypted.map_err(|_| Corruption::PersonalDataUndecryptable { position })?)
        }
        (Some(_), None) => {
            let (position, stream) = (event.position, event.stream.key_owner());
            return Err(Corruption::DataKeyMissing { stream, position }.into());
        }
    };
    Ok(StoredEvent { envelope: event, personal })
}

#[cfg(test)]
mod tests {
    use jiff::Timestamp;

    use super::*;

    fn event(position: u64) -> Envelope {
        Envelope {
            position: Position::new(position),
            id: uuid::Uuid::nil(),
            stream: StreamId::new("system").unwrap(),
            version: position,
            event_type: "Happened".to_owned(),
            schema: 1,
            at: Timestamp::UNIX_EPOCH,
            actor: "system".to_owned(),
            request_id: String::new(),
            data: Map::new(),
            sealed: None,
            leaf: [0; 32],
        }
    }

    #[test]
    fn gap_in_positions_is_an_error_naming_the_missing_position() {
        let after = Position::new(4);
        assert!(check_contiguous(after, &[event(5), event(6)]).is_ok());
        for (events, missing) in [(vec![event(6)], 5), (vec![event(5), event(7)], 6)] {
            let missing = Position::new(missing);
            let error = check_contiguous(after, &events).unwrap_err();
            let expected = Corruption::MissingEvents { first: missing, last: missing };
            assert!(matches!(&error, StoreError::Corrupt(found) if *found == expected), "{error}");
        }
    }
}

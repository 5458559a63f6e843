//! Reading back: nothing missing, and personal values unsealed where their key still exists.

use std::collections::{BTreeSet, HashMap};

use serde_json::Map;

use crate::backend::Backend;
use crate::error::{Corruption, KeyOwner, StoreError};
use crate::event::{Envelope, PersonalData, Position, StoredEvent, StreamId};
use crate::key_store::{DataKey, KeyEntry, KeyId, Keyring, MasterKey, MasterKeys, SealedContext};

/// Positions have no gaps, so one that is missing was lost or removed: an alarm, never a guess.
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

/// Keys are read anew for every call and never kept: a key that was destroyed must not live on in memory. Reading
/// them after the events is safe, since an event and its key are committed together.
pub(crate) async fn unseal(
    backend: &dyn Backend,
    masters: &Keyring,
    events: Vec<Envelope>,
) -> Result<Vec<StoredEvent>, StoreError> {
    let sealed = events.iter().filter(|event| event.sealed.is_some());
    let streams: BTreeSet<_> = sealed.map(|event| event.stream.clone()).collect();
    let streams: Vec<_> = streams.into_iter().collect();
    let vault = if streams.is_empty() { HashMap::new() } else { backend.key_entries(&streams).await? };
    unseal_with(vault.iter(), masters, events).await
}

/// As [`unseal`], by vault entries that were read after the events, of every stream that has any.
pub(crate) async fn unseal_with<'a>(
    vault: impl Iterator<Item = (&'a StreamId, &'a KeyEntry)> + Clone,
    masters: &Keyring,
    events: Vec<Envelope>,
) -> Result<Vec<StoredEvent>, StoreError> {
    let masters = masters.load_missing(vault.clone().filter_map(|(_, entry)| master_key_id(entry))).await;
    let mut keys = HashMap::new();
    for (stream, entry) in vault {
        keys.insert(stream.clone(), open_entry(stream, entry, &masters)?);
        yield_if_due(keys.len()).await;
    }
    let mut opened = Vec::with_capacity(events.len());
    for event in events {
        opened.push(open_event(event, &keys)?);
        yield_if_due(opened.len()).await;
    }
    Ok(opened)
}

/// Lets others have the thread now and then: thousands of events take tens of milliseconds, for which a request would have
/// to wait.
async fn yield_if_due(done: usize) {
    const AT_ONCE: usize = 64;
    if done.is_multiple_of(AT_ONCE) {
        tokio::task::yield_now().await;
    }
}

/// The master key that a stream's key is wrapped by.
pub(crate) fn master_key_id(entry: &KeyEntry) -> Option<KeyId> {
    match entry {
        KeyEntry::Key(wrapped) => MasterKey::id_of(wrapped),
        KeyEntry::Erased => None,
    }
}

/// The key of a stream, or `None` if it was erased.
fn open_entry(
    stream: &StreamId,
    entry: &KeyEntry,
    masters: &MasterKeys,
) -> Result<Option<DataKey>, StoreError> {
    match entry {
        KeyEntry::Erased => Ok(None),
        KeyEntry::Key(wrapped) => unwrap_key(stream, wrapped, masters).map(Some),
    }
}

/// Opens the wrapped key of a stream.
pub(crate) fn unwrap_key(
    stream: &StreamId,
    wrapped: &[u8],
    masters: &MasterKeys,
) -> Result<DataKey, StoreError> {
    DataKey::unwrap(stream, wrapped, masters)
        .map_err(|error| StoreError::key_unavailable(KeyOwner::Stream(stream.clone()), error))
}

fn open_event(event: Envelope, keys: &HashMap<StreamId, Option<DataKey>>) -> Result<StoredEvent, StoreError> {
    let personal = match (&event.sealed, keys.get(&event.stream)) {
        (None, _) => PersonalData::Known(Map::new()),
        (Some(_), Some(None)) => PersonalData::Erased,
        (Some(sealed), Some(Some(key))) => {
            let opened = key.open(SealedContext::of(&event), sealed);
            let position = event.position;
            PersonalData::Known(opened.map_err(|_| Corruption::PersonalDataUndecryptable { position })?)
        }
        (Some(_), None) => {
            let (position, stream) = (event.position, event.stream);
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
            let alarm = check_contiguous(after, &events).unwrap_err();
            let expected = Corruption::MissingEvents { first: missing, last: missing };
            assert!(matches!(&alarm, StoreError::Corrupt(found) if *found == expected), "{alarm}");
        }
    }
}

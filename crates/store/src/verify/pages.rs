//! Reads the log page by page and checks what concerns one event alone: its leaf hash, its decryption and its
//! effects on the key store. This is most of the work, so pages are checked concurrently and yielded in
//! order. Checks between events belong to `sequence`.

use std::collections::{BTreeSet, HashSet};
use std::sync::Arc;

use futures::stream::{self, Stream, StreamExt};
use tokio_util::task::AbortOnDropHandle;

use super::claims::{ClaimReader, EventEffects, StoredEntries};
use super::finding::{Finding, FindingKind, VerifyError};
use super::sequence::EventHeader;
use crate::backend::EventQuery;
use crate::canonical::canonical_event;
use crate::error::StoreError;
use crate::event::{Envelope, Position, StoredEvent};
use crate::event_store::EventStore;
use crate::merkle::leaf_hash;
use crate::read::{unseal, unseal_with};
use crate::tiles::{TileId, TileStore, WIDTH};

/// Number of events in a page.
const PAGE: u64 = 1000;
/// Number of pages checked concurrently.
const CONCURRENT_PAGES: usize = 4;

/// The events between two positions, with the findings on each of them.
pub(super) struct CheckedPage {
    /// The events by ascending position, up to the first that cannot be decoded.
    pub(super) headers: Vec<EventHeader>,
    /// The first event whose leaf hash does not match it.
    pub(super) leaf_mismatch: Option<Finding>,
    /// The first event whose leaf hash differs from the one in the tiles.
    pub(super) tile_mismatch: Option<Position>,
    /// The effects of the events on the key store, or the first event that cannot be decrypted or decoded.
    pub(super) effects: Result<Vec<EventEffects>, VerifyError>,
    /// The key store entries of their streams, read after the events.
    pub(super) stored: StoredEntries,
    /// The finding on the event after the last one, if that cannot be decoded.
    pub(super) unreadable: Option<Finding>,
    /// The last position of the page if no event is missing.
    pub(super) end: Position,
}

/// Checks the events above `after`, up to `until`, in pages.
pub(super) fn pages(
    store: &EventStore,
    tiles: Option<Arc<dyn TileStore>>,
    reader: ClaimReader,
    after: Position,
    until: Position,
) -> impl Stream<Item = Result<CheckedPage, VerifyError>> + Send {
    let page_size = usize::try_from(PAGE).unwrap_or(usize::MAX);
    let store = Arc::new(store.clone());
    let starts = (after.get()..until.get()).step_by(page_size);
    let page = move |start: u64| {
        let (store, tiles) = (Arc::clone(&store), tiles.clone());
        let end = Position::new(until.get().min(start + PAGE));
        // A separate task, so that pages run on several threads.
        AbortOnDropHandle::new(tokio::spawn(async move {
            let mut page = check_page(&store, reader, Position::new(start), end).await?;
            if let Some(tiles) = tiles {
                page.tile_mismatch = tile_mismatch(&*tiles, &page.headers).await?;
            }
            Ok(page)
        }))
    };
    stream::iter(starts).map(page).buffered(CONCURRENT_PAGES).map(|checked| {
        checked.unwrap_or_else(|aborted| {
            Err(StoreError::unavailable("verifying a page of the log", aborted).into())
        })
    })
}

async fn check_page(
    store: &EventStore,
    reader: ClaimReader,
    after: Position,
    end: Position,
) -> Result<CheckedPage, VerifyError> {
    let (events, unreadable) = read(store, after, end).await?;
    let headers: Vec<_> = events.iter().map(EventHeader::from).collect();
    let leaf_mismatch =
        events.iter().find_map(|event| check_leaf(event).map(|kind| Finding::new(event.position, kind)));
    let (stored, decrypted) = match decrypt(store, events).await {
        Ok((stored, decrypted)) => (stored, Ok(decrypted)),
        Err(error) => (StoredEntries::default(), Err(error)),
    };
    let effects = match decrypted {
        // A wrapped key with a forged key id looks the same as a lost master key, so both are findings.
        Err(error) => {
            let kind = FindingKind::unreadable(error)?;
            Err(first_undecryptable(store, after, end, kind).await)
        }
        Ok(decrypted) => effects(store, reader, decrypted),
    };
    Ok(CheckedPage { headers, leaf_mismatch, tile_mismatch: None, effects, stored, unreadable, end })
}

/// Reads the key store entries of the streams, or of their key owners, and decrypts the events.
async fn decrypt(
    store: &EventStore,
    events: Vec<Envelope>,
) -> Result<(StoredEntries, Vec<StoredEvent>), StoreError> {
    let mut streams: Vec<_> = events.iter().map(|event| event.stream.key_owner()).collect();
    streams.sort_unstable();
    streams.dedup();
    let stored = store.backend().key_entries_with_claims(&streams).await?;
    let stored: StoredEntries =
        stored.into_iter().map(|(stream, entry, claims)| (stream, (entry, claims))).collect();
    let sealed: HashSet<_> =
        events.iter().filter(|event| event.sealed.is_some()).map(|event| event.stream.key_owner()).collect();
    let entries = stored
        .iter()
        .filter(|(stream, _)| sealed.contains(*stream))
        .map(|(stream, (entry, _))| (stream, entry));
    let decrypted = unseal_with(entries, store.masters(), events).await?;
    Ok((stored, decrypted))
}

/// Reads the events of a page up to the first that cannot be decoded, which is a finding.
async fn read(
    store: &EventStore,
    mut after: Position,
    end: Position,
) -> Result<(Vec<Envelope>, Option<Finding>), StoreError> {
    let query = |after, limit| EventQuery { after, until: Some(end), limit, ..EventQuery::default() };
    let whole = usize::try_from(end.get() - after.get()).unwrap_or(usize::MAX);
    match store.backend().events(&query(after, whole)).await {
        Err(StoreError::Corrupt(_)) => {}
        events => return Ok((events?, None)),
    }
    // Read one by one to find the undecodable event.
    let mut events = Vec::new();
    loop {
        match store.backend().events(&query(after, 1)).await {
            Err(StoreError::Corrupt(corruption)) => {
                return Ok((events, Some(Finding::new(after.next(), corruption.into()))));
            }
            found => match found?.pop() {
                Some(event) => {
                    after = event.position;
                    events.push(event);
                }
                None => return Ok((events, None)),
            },
        }
    }
}

/// Finds the first event whose leaf hash differs from the one in the tiles. Events that are in no tile yet
/// are skipped.
async fn tile_mismatch(
    store: &dyn TileStore,
    headers: &[EventHeader],
) -> Result<Option<Position>, StoreError> {
    let location = |header: &EventHeader| {
        let index = header.position.previous().get();
        (TileId { level: 0, index: index / WIDTH }, usize::try_from(index % WIDTH).unwrap_or(usize::MAX))
    };
    let wanted: BTreeSet<_> = headers.iter().map(|header| location(header).0).collect();
    let tiles = store.tiles(&wanted.into_iter().collect::<Vec<_>>()).await?;
    let differs = |header: &&EventHeader| {
        let (tile, within) = location(header);
        tiles.get(&tile).is_some_and(|leaves| leaves.get(within) != Some(&header.leaf))
    };
    Ok(headers.iter().find(differs).map(|header| header.position))
}

fn check_leaf(event: &Envelope) -> Option<FindingKind> {
    match canonical_event(event) {
        Ok(canonical) if leaf_hash(&canonical) == event.leaf => None,
        Ok(_) => Some(FindingKind::LeafMismatch),
        Err(error) => Some(error.into()),
    }
}

pub(crate) fn effects(
    store: &EventStore,
    reader: ClaimReader,
    events: Vec<StoredEvent>,
) -> Result<Vec<EventEffects>, VerifyError> {
    let mut effects = Vec::with_capacity(events.len());
    for event in events {
        let position = event.envelope.position;
        let change = reader(&event)
            .map_err(|reason| Finding::new(position, FindingKind::UndecodableEvent { reason }))?;
        let hashes = |claims: &[crate::append::Claim]| {
            claims.iter().map(|claim| store.claim_key().hash(claim.kind, &claim.value)).collect()
        };
        effects.push(EventEffects {
            position,
            // Otherwise the key owner has the entry.
            is_sealed: event.envelope.sealed.is_some() && event.envelope.stream.owns_key(),
            erases: change.erases,
            owner: change.owner,
            taken: hashes(&change.take),
            taken_if_free: hashes(&change.take_if_free),
            released: hashes(&change.release),
            released_if_held: hashes(&change.release_if_held),
            stream: event.envelope.stream,
        });
    }
    Ok(effects)
}

/// The first event of a page whose personal data cannot be decrypted; `found` if every event by itself can.
async fn first_undecryptable(
    store: &EventStore,
    after: Position,
    end: Position,
    found: FindingKind,
) -> VerifyError {
    let events = match read(store, after, end).await {
        Ok((events, _)) => events,
        Err(error) => return error.into(),
    };
    for event in events {
        let position = event.position;
        if let Err(error) = unseal(store.backend(), store.masters(), vec![event]).await {
            return FindingKind::unreadable(error)
                .map_or_else(VerifyError::from, |kind| Finding::new(position, kind).into());
        }
    }
    Finding::new(Position::START, found).into()
}

#[cfg(test)]
mod tests {
    use jiff::Timestamp;
    use serde_json::{Map, json};
    use uuid::Uuid;

    use super::*;
    use crate::event::StreamId;

    #[test]
    fn leaf_hash_detects_a_changed_event() {
        let mut event = Envelope {
            position: Position::new(3),
            id: Uuid::nil(),
            stream: StreamId::new("system").unwrap(),
            version: 3,
            event_type: "Happened".to_owned(),
            schema: 1,
            at: Timestamp::UNIX_EPOCH,
            actor: "system".to_owned(),
            request_id: String::new(),
            data: Map::new(),
            sealed: None,
            leaf: [0; 32],
        };
        event.leaf = leaf_hash(&canonical_event(&event).unwrap());
        assert_eq!(check_leaf(&event), None);
        event.data.insert("x".to_owned(), json!(1));
        assert_eq!(check_leaf(&event), Some(FindingKind::LeafMismatch));
    }
}

//! Whether the claims that the vault holds are those that the events say.

use std::collections::{BTreeSet, HashMap};

use foldhash::fast::RandomState;

use super::pages::EventEffects;
use super::sequence::LogSequence;
use super::{Finding, VerifyError};
use crate::append::Claim;
use crate::backend::KeyEntry;
use crate::error::StoreError;
use crate::event::{Position, StoredEvent, StreamId};
use crate::event_store::EventStore;
use crate::key_store::ClaimHash;

/// Names of streams read at once.
const PAGE: usize = 10_000;
/// How often a stream that differs is looked at again, since it may have changed between two looks.
const MAX_RECHECKS: usize = 10;

/// The claims that an event takes, and those that it gives back.
#[derive(Clone, Debug, Default)]
pub struct ClaimChange {
    /// Taken by the event's stream.
    pub take: Vec<Claim>,
    /// Given back.
    pub release: Vec<Claim>,
    /// Whether the event erases its stream: key and claims are gone with it.
    pub erases: bool,
}

/// EventEffects which claims an event takes and gives back, or why it cannot be understood.
pub type ClaimReader = fn(&StoredEvent) -> Result<ClaimChange, String>;

/// What the vault holds of a stream.
pub(super) type StoredEntry = (KeyEntry, Vec<ClaimHash>);
/// What it holds of some.
pub(super) type StoredEntries = HashMap<StreamId, StoredEntry, RandomState>;

/// What the events say.
#[derive(Default)]
pub(super) struct ExpectedEntries {
    streams: HashMap<StreamId, ExpectedEntry, RandomState>,
    /// Streams of which the vault held something else when it was read.
    mismatches: BTreeSet<StreamId>,
}

#[derive(Default)]
struct ExpectedEntry {
    last: Position,
    sealed: bool,
    /// An event says so.
    erased: bool,
    claims: Vec<ClaimHash>,
}

impl ExpectedEntries {
    /// Takes in what the events of a page say, and compares what the vault held of their streams later.
    pub(super) fn take(&mut self, page: Vec<EventEffects>, held: &StoredEntries) {
        let mut expected = Vec::with_capacity(page.len());
        for effects in page {
            let stream = self.streams.entry(effects.stream.clone()).or_default();
            stream.claims.retain(|claim| !effects.released.contains(claim));
            stream.claims.extend(effects.taken);
            stream.last = effects.position;
            stream.sealed |= effects.is_sealed;
            stream.erased |= effects.erases;
            expected.push((effects.stream, effects.position));
        }
        for (name, position) in expected {
            let Some(stream) = self.streams.get(&name).filter(|stream| stream.last == position) else {
                continue;
            };
            if stream.compare(&name, held.get(&name)).is_err() {
                self.mismatches.insert(name);
            } else if !self.mismatches.is_empty() {
                self.mismatches.remove(&name);
            }
        }
    }

    pub(super) fn streams(&self) -> usize {
        self.streams.len()
    }

    pub(super) fn claims(&self) -> usize {
        self.streams.values().map(|stream| stream.claims.len()).sum()
    }

    /// The last position that speaks of a stream.
    fn last(&self, stream: &StreamId) -> Position {
        self.streams.get(stream).map_or(Position::START, |stream| stream.last)
    }

    /// What is wrong with a stream's vault entry.
    fn compare(&self, name: &StreamId, held: Option<&StoredEntry>) -> Result<(), Finding> {
        self.streams.get(name).unwrap_or(&ExpectedEntry::default()).compare(name, held)
    }
}

impl ExpectedEntry {
    /// What is wrong with the vault entry of this stream.
    fn compare(&self, name: &StreamId, held: Option<&StoredEntry>) -> Result<(), Finding> {
        let found = |what: String| Err(Finding::new(self.last, format!("stream {name} {what}")));
        match held {
            None if self.sealed || !self.claims.is_empty() => found("has no entry in the vault".to_owned()),
            None => Ok(()),
            Some(_) if self.last == Position::START => found("is in the vault and has no event".to_owned()),
            Some((KeyEntry::Erased, _)) if !self.erased => {
                found("lost its key, and no event effects that it was erased".to_owned())
            }
            Some((KeyEntry::Erased, claims)) if claims.is_empty() => Ok(()),
            Some((KeyEntry::Erased, _)) => found("was erased and still holds claims".to_owned()),
            Some((KeyEntry::Key(_), _)) if self.erased => {
                found("has a key again after it was erased".to_owned())
            }
            Some((KeyEntry::Key(_), claims)) => {
                let missing = self.claims.iter().filter(|claim| !claims.contains(claim)).count();
                let extra = claims.iter().filter(|claim| !self.claims.contains(claim)).count();
                if missing + extra == 0 {
                    return Ok(());
                }
                found(format!("lacks {missing} of the claims that its events say, and holds {extra} others"))
            }
        }
    }
}

impl EventStore {
    /// Compares the vault with what the events say. The vault is read later than the events: what differed is looked at
    /// again, with the events that have come meanwhile, until it stands still.
    pub(super) async fn check_claims(
        &self,
        sequence: &mut LogSequence,
        expected: &mut ExpectedEntries,
        reader: ClaimReader,
    ) -> Result<(), VerifyError> {
        let mut mismatches = self.orphaned_entries(expected).await?;
        mismatches.extend(expected.mismatches.iter().cloned());
        for _ in 0..MAX_RECHECKS {
            if mismatches.is_empty() {
                return Ok(());
            }
            self.scan_to_head(sequence, expected, reader).await?;
            let wrong = self.find_mismatches(expected, &mismatches).await?;
            let before: HashMap<_, _> = wrong.keys().map(|stream| (stream, expected.last(stream))).collect();
            self.scan_to_head(sequence, expected, reader).await?;
            // Where no event has come in between, the difference stands.
            let stands =
                wrong.iter().filter(|(stream, _)| before.get(stream) == Some(&expected.last(stream)));
            if let Some((_, finding)) = stands.min_by_key(|(_, finding)| finding.position) {
                return Err(finding.clone().into());
            }
            mismatches = wrong.into_keys().collect();
        }
        let what = format!(
            "{} streams kept changing while their claims were compared; verify again",
            mismatches.len()
        );
        Err(StoreError::Unavailable { what, source: None }.into())
    }

    async fn scan_to_head(
        &self,
        sequence: &mut LogSequence,
        expected: &mut ExpectedEntries,
        reader: ClaimReader,
    ) -> Result<(), VerifyError> {
        let head = self.head().await?.position;
        self.scan_to(sequence, expected, reader, head, &mut |_, _| {}).await
    }

    /// Those of the streams whose vault entry is not what the events say.
    async fn find_mismatches(
        &self,
        expected: &ExpectedEntries,
        streams: &BTreeSet<StreamId>,
    ) -> Result<HashMap<StreamId, Finding>, StoreError> {
        let held =
            self.backend().key_entries_with_claims(&streams.iter().cloned().collect::<Vec<_>>()).await?;
        let held: HashMap<_, _> =
            held.into_iter().map(|(stream, entry, claims)| (stream, (entry, claims))).collect();
        let compare =
            |stream: &StreamId| Some((stream.clone(), expected.compare(stream, held.get(stream)).err()?));
        Ok(streams.iter().filter_map(compare).collect())
    }

    /// The streams that are in the vault, and in no event so far.
    async fn orphaned_entries(&self, expected: &ExpectedEntries) -> Result<BTreeSet<StreamId>, StoreError> {
        let mut orphaned_entries = BTreeSet::new();
        let mut after = None;
        loop {
            let page = self.backend().key_entry_streams(after.as_ref(), PAGE).await?;
            orphaned_entries
                .extend(page.iter().filter(|stream| !expected.streams.contains_key(*stream)).cloned());
            after = page.last().cloned();
            if page.len() < PAGE {
                return Ok(orphaned_entries);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_key_store_mismatch_is_reported() {
        let claim = |byte| ClaimHash::from_slice(&[byte; 32]).unwrap();
        let key = || KeyEntry::Key(vec![1]);
        let stream = |sealed, erased, claims: &[u8]| ExpectedEntry {
            last: Position::new(7),
            sealed,
            erased,
            claims: claims.iter().copied().map(claim).collect(),
        };
        let no_event = ExpectedEntry::default();
        for (expected, held, wrong) in [
            (stream(true, false, &[1, 2]), Some((key(), vec![claim(2), claim(1)])), None),
            (stream(false, false, &[]), None, None),
            (stream(true, true, &[1]), Some((KeyEntry::Erased, vec![])), None),
            (stream(true, false, &[]), None, Some("has no entry in the vault")),
            (stream(false, false, &[1]), None, Some("has no entry in the vault")),
            (no_event, Some((key(), vec![])), Some("is in the vault and has no event")),
            (
                stream(true, false, &[]),
                Some((KeyEntry::Erased, vec![])),
                Some("lost its key, and no event effects"),
            ),
            (stream(true, true, &[]), Some((KeyEntry::Erased, vec![claim(1)])), Some("still holds claims")),
            (stream(true, true, &[]), Some((key(), vec![])), Some("has a key again")),
            (stream(true, false, &[1]), Some((key(), vec![claim(2)])), Some("lacks 1 of the claims")),
        ] {
            let name = StreamId::new("user-1").unwrap();
            let streams = HashMap::from_iter([(name.clone(), expected)]);
            let expected = ExpectedEntries { streams, ..ExpectedEntries::default() };
            let found = expected.compare(&name, held.as_ref()).err().map(|finding| finding.what);
            assert_eq!(found.is_some(), wrong.is_some(), "{held:?}: {found:?}");
            let found = found.unwrap_or_default();
            assert!(found.contains(wrong.unwrap_or_default()), "{held:?}: {found}");
        }
    }
}

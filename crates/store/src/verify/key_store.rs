//! Compares the key store with the events: expected and stored data keys, tombstones and unique claims of
//! each stream. Pure; reading the key store belongs to `scan` and `pages`.

use std::collections::{BTreeSet, HashMap};

use foldhash::fast::RandomState;

use super::claims::{EventEffects, StoredEntries, StoredEntry};
use super::finding::{Finding, FindingKind};
use crate::event::{Position, StreamId};
use crate::key_store::{ClaimHash, KeyEntry};

/// The key store entries that must exist because of the events applied so far.
#[derive(Default)]
pub(super) struct ExpectedEntries {
    streams: HashMap<StreamId, ExpectedEntry, RandomState>,
    /// The owners of streams that are not erased.
    owners: HashMap<StreamId, StreamId, RandomState>,
    /// Streams whose stored entry differed when it was read.
    pub(super) mismatches: BTreeSet<StreamId>,
}

#[derive(Default)]
struct ExpectedEntry {
    last: Position,
    sealed: bool,
    erased: bool,
    claims: Vec<ClaimHash>,
}

impl ExpectedEntries {
    /// Applies the effects of the events of a page, and compares them with the entries `stored`, read after
    /// the events.
    pub(super) fn apply(&mut self, page: Vec<EventEffects>, stored: &StoredEntries) {
        let mut expected = Vec::with_capacity(page.len());
        for effects in page {
            let stream = self.streams.entry(effects.stream.clone()).or_default();
            stream.claims.retain(|claim| !effects.released.contains(claim));
            stream.claims.extend(effects.taken);
            stream.last = effects.position;
            stream.sealed |= effects.is_sealed;
            stream.erased |= effects.erases;
            if let Some(owner) = effects.owner {
                self.owners.insert(effects.stream.clone(), owner);
            }
            if effects.erases {
                stream.claims.clear();
                self.owners.remove(&effects.stream);
            }
            expected.push((effects.stream, effects.position));
        }
        for (name, position) in expected {
            let Some(stream) = self.streams.get(&name).filter(|stream| stream.last == position) else {
                continue;
            };
            if stream.compare(&name, stored.get(&name)).is_err() {
                self.mismatches.insert(name);
            } else if !self.mismatches.is_empty() {
                self.mismatches.remove(&name);
            }
        }
    }

    /// Finds the first stream that is not erased although its owner is.
    pub(super) fn check_owners(&self) -> Result<(), Finding> {
        let is_erased = |owner: &StreamId| self.streams.get(owner).is_some_and(|owner| owner.erased);
        let outliving = self.owners.iter().filter(|(_, owner)| is_erased(owner));
        match outliving.map(|(stream, owner)| (self.last(stream), stream, owner)).min() {
            None => Ok(()),
            Some((position, stream, owner)) => {
                let (stream, owner) = (stream.clone(), owner.clone());
                Err(Finding::new(position, FindingKind::OutlivesOwner { stream, owner }))
            }
        }
    }

    pub(super) fn contains(&self, stream: &StreamId) -> bool {
        self.streams.contains_key(stream)
    }

    pub(super) fn streams(&self) -> usize {
        self.streams.len()
    }

    pub(super) fn claims(&self) -> usize {
        self.streams.values().map(|stream| stream.claims.len()).sum()
    }

    /// The position of the last event of a stream.
    pub(super) fn last(&self, stream: &StreamId) -> Position {
        self.streams.get(stream).map_or(Position::START, |stream| stream.last)
    }

    /// Compares the stored entry of a stream with the expected one.
    pub(super) fn compare(&self, name: &StreamId, stored: Option<&StoredEntry>) -> Result<(), Finding> {
        self.streams.get(name).unwrap_or(&ExpectedEntry::default()).compare(name, stored)
    }
}

impl ExpectedEntry {
    fn compare(&self, name: &StreamId, stored: Option<&StoredEntry>) -> Result<(), Finding> {
        let stream = name.clone();
        let kind = match stored {
            None if self.sealed || !self.claims.is_empty() => FindingKind::KeyEntryMissing { stream },
            None => return Ok(()),
            Some(_) if self.last == Position::START => FindingKind::KeyEntryOrphaned { stream },
            Some((KeyEntry::Erased, _)) if !self.erased => FindingKind::KeyDestroyed { stream },
            Some((KeyEntry::Erased, claims)) if claims.is_empty() => return Ok(()),
            Some((KeyEntry::Erased, _)) => FindingKind::ClaimsAfterErasure { stream },
            Some((KeyEntry::Key(_), _)) if self.erased => FindingKind::KeyAfterErasure { stream },
            Some((KeyEntry::Key(_), claims)) => {
                let missing = self.claims.iter().filter(|claim| !claims.contains(claim)).count();
                let unexpected = claims.iter().filter(|claim| !self.claims.contains(claim)).count();
                if missing + unexpected == 0 {
                    return Ok(());
                }
                FindingKind::ClaimsMismatch { stream, missing, unexpected }
            }
        };
        Err(Finding::new(self.last, kind))
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
        let (no_event, mut counts) = (ExpectedEntry::default(), Vec::new());
        for (expected, stored, code) in [
            (stream(true, false, &[1, 2]), Some((key(), vec![claim(2), claim(1)])), None),
            (stream(false, false, &[]), None, None),
            (stream(true, true, &[1]), Some((KeyEntry::Erased, vec![])), None),
            (stream(true, false, &[]), None, Some("key_entry_missing")),
            (stream(false, false, &[1]), None, Some("key_entry_missing")),
            (no_event, Some((key(), vec![])), Some("key_entry_orphaned")),
            (stream(true, false, &[]), Some((KeyEntry::Erased, vec![])), Some("key_destroyed")),
            (stream(true, true, &[]), Some((KeyEntry::Erased, vec![claim(1)])), Some("claims_after_erasure")),
            (stream(true, true, &[]), Some((key(), vec![])), Some("key_after_erasure")),
            (stream(true, false, &[1]), Some((key(), vec![claim(2)])), Some("claims_mismatch")),
            (stream(true, false, &[1, 2]), Some((key(), vec![])), Some("claims_mismatch")),
            (stream(true, false, &[1]), Some((key(), vec![claim(1), claim(2)])), Some("claims_mismatch")),
        ] {
            let name = StreamId::new("user-1").unwrap();
            let streams = HashMap::from_iter([(name.clone(), expected)]);
            let expected = ExpectedEntries { streams, ..ExpectedEntries::default() };
            let found = expected.compare(&name, stored.as_ref()).err().map(|finding| finding.kind);
            assert_eq!(found.as_ref().map(FindingKind::code), code, "{stored:?}: {found:?}");
            if let Some(FindingKind::ClaimsMismatch { missing, unexpected, .. }) = found {
                counts.push((missing, unexpected));
            }
        }
        assert_eq!(counts, [(1, 1), (2, 0), (0, 1)]);
    }
}

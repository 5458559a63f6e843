//! Compares the key store with the events: expected and stored data keys, tombstones and unique claims of
//! each stream. Pure; reading the key store belongs to `scan` and `pages`. Each entry is compared by a digest
//! when its stream is scanned; only where that differs are the events of the stream read again and compared
//! claim by claim.

use std::collections::{BTreeSet, HashMap};

use super::claims::{EventEffects, StoredEntries, StoredEntry};
use super::finding::{Finding, FindingKind};
use super::streams::Streams;
use crate::event::{Position, StreamId};
use crate::key_store::{ClaimHash, KeyEntry};

/// The comparison of the key store with the events applied so far.
#[derive(Default)]
pub(super) struct KeyStoreComparison {
    /// The number of claims that the streams must hold.
    pub(super) claims: usize,
    /// The owners of streams that are not erased, and the last positions of the streams.
    owners: HashMap<StreamId, (StreamId, Position)>,
    /// Streams whose stored entry differed when it was read.
    pub(super) mismatches: BTreeSet<StreamId>,
}

impl KeyStoreComparison {
    /// Applies the effects of the events of a page, and compares them with the entries `stored`, read after
    /// the events.
    ///
    /// # Errors
    /// The first event of a stream whose key owner was erased before.
    pub(super) fn apply(
        &mut self,
        page: &[EventEffects],
        stored: &StoredEntries,
        streams: &mut Streams,
    ) -> Result<(), Finding> {
        for effects in page {
            check_key_owner(effects, streams)?;
            self.claims = (self.claims + effects.taken.len()).saturating_sub(effects.released.len());
            let held = stored.get(&effects.stream).map(|(_, claims)| claims.as_slice()).unwrap_or_default();
            streams.apply(effects, held);
            self.record_owner(effects);
        }
        for name in page.iter().map(|effects| &effects.stream).collect::<BTreeSet<_>>() {
            if !streams.agrees(name, stored.get(name)) {
                self.mismatches.insert(name.clone());
            } else if !self.mismatches.is_empty() {
                self.mismatches.remove(name);
            }
        }
        Ok(())
    }
}

/// A stream without a key of its own gets no events after the erasure of its key owner.
fn check_key_owner(effects: &EventEffects, streams: &Streams) -> Result<(), Finding> {
    let (stream, owner) = (effects.stream.clone(), effects.stream.key_owner());
    if stream.owns_key() || !streams.is_erased(&owner) {
        return Ok(());
    }
    Err(Finding::new(effects.position, FindingKind::EventAfterErasure { stream, owner }))
}

impl KeyStoreComparison {
    fn record_owner(&mut self, effects: &EventEffects) {
        if let Some(owner) = &effects.owner {
            self.owners.insert(effects.stream.clone(), (owner.clone(), effects.position));
        } else if let Some((_, last)) = self.owners.get_mut(&effects.stream) {
            *last = effects.position;
        }
        if effects.erases {
            self.owners.remove(&effects.stream);
        }
    }

    /// Finds the first stream that is not erased although its owner is.
    pub(super) fn check_owners(&self, streams: &Streams) -> Result<(), Finding> {
        let outliving = self.owners.iter().filter(|(_, (owner, _))| streams.is_erased(owner));
        match outliving.min_by_key(|(_, (_, last))| *last) {
            None => Ok(()),
            Some((stream, (owner, last))) => {
                let (stream, owner) = (stream.clone(), owner.clone());
                Err(Finding::new(*last, FindingKind::OutlivesOwner { stream, owner }))
            }
        }
    }
}

/// The key store entry that must exist because of the events of one stream.
#[derive(Default)]
pub(crate) struct ExpectedEntry {
    last: Position,
    sealed: bool,
    erased: bool,
    claims: Vec<ClaimHash>,
    /// Claims that may be missing.
    claims_if_free: Vec<ClaimHash>,
}

impl ExpectedEntry {
    /// Applies the effects of the next event.
    pub(crate) fn apply(&mut self, effects: EventEffects) {
        for (claims, released) in
            [(&mut self.claims, &effects.released), (&mut self.claims_if_free, &effects.released_if_held)]
        {
            claims.retain(|claim| !released.contains(claim));
        }
        self.claims.extend(effects.taken);
        self.claims_if_free.extend(effects.taken_if_free);
        self.last = effects.position;
        self.sealed |= effects.is_sealed;
        self.erased |= effects.erases;
    }

    /// The claims that the stream must hold, and those that it holds if no other stream does.
    pub(crate) fn claims(&self) -> (&[ClaimHash], &[ClaimHash]) {
        (&self.claims, &self.claims_if_free)
    }

    /// Compares the stored entry with this one.
    pub(super) fn compare(&self, name: &StreamId, stored: Option<&StoredEntry>) -> Result<(), Finding> {
        let stream = name.clone();
        let kind = match stored {
            None if self.sealed || !self.claims.is_empty() => FindingKind::KeyEntryMissing { stream },
            None => return Ok(()),
            Some(_) if self.last == Position::START || !name.owns_key() => {
                FindingKind::KeyEntryOrphaned { stream }
            }
            Some((KeyEntry::Erased, _)) if !self.erased => FindingKind::KeyDestroyed { stream },
            Some((KeyEntry::Erased, claims)) if claims.is_empty() => return Ok(()),
            Some((KeyEntry::Erased, _)) => FindingKind::ClaimsAfterErasure { stream },
            Some((KeyEntry::Key(_), _)) if self.erased => FindingKind::KeyAfterErasure { stream },
            Some((KeyEntry::Key(_), claims)) => {
                let missing = self.claims.iter().filter(|claim| !claims.contains(claim)).count();
                let is_expected =
                    |claim: &ClaimHash| self.claims.contains(claim) || self.claims_if_free.contains(claim);
                let unexpected = claims.iter().filter(|claim| !is_expected(claim)).count();
                // In its place may be a value that a release before or after this one has derived by other rules.
                let absent = self.claims_if_free.iter().filter(|claim| !claims.contains(claim)).count();
                let unexpected = unexpected.saturating_sub(absent);
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
    use crate::env::Env;

    #[test]
    fn event_after_the_erasure_of_its_key_owner_is_found() {
        let mut streams = Streams::new(&Env::system());
        let effects = |stream: &str, position, erases| EventEffects {
            stream: StreamId::new(stream).unwrap(),
            position: Position::new(position),
            is_sealed: false,
            erases,
            owner: None,
            taken: Vec::new(),
            taken_if_free: Vec::new(),
            released: Vec::new(),
            released_if_held: Vec::new(),
        };
        let mut apply = |page: &[EventEffects]| {
            KeyStoreComparison::default().apply(page, &StoredEntries::default(), &mut streams)
        };
        let [login, erasure, forged] =
            [effects("logins-1", 2, false), effects("user-1", 3, true), effects("logins-1", 4, false)];
        assert_eq!(apply(&[effects("user-1", 1, false), login, erasure]), Ok(()));
        assert_eq!(apply(&[effects("logins-2", 4, false)]), Ok(()));
        let finding = apply(&[forged]).unwrap_err();
        assert_eq!((finding.kind.code(), finding.position), ("event_after_erasure", Position::new(4)));
    }

    #[test]
    fn every_key_store_mismatch_is_reported() {
        let claim = |byte| ClaimHash::from_slice(&[byte; 32]).unwrap();
        let key = || KeyEntry::Key(vec![1]);
        let stream = |sealed, erased, claims: &[u8]| ExpectedEntry {
            last: Position::new(7),
            sealed,
            erased,
            claims: claims.iter().copied().map(claim).collect(),
            claims_if_free: Vec::new(),
        };
        let with_9 = || ExpectedEntry { claims_if_free: vec![claim(9)], ..stream(true, false, &[1]) };
        let (no_event, mut counts) = (ExpectedEntry::default(), Vec::new());
        for (expected, stored, code) in [
            (stream(true, false, &[1, 2]), Some((key(), vec![claim(2), claim(1)])), None),
            (with_9(), Some((key(), vec![claim(9), claim(1)])), None),
            (with_9(), Some((key(), vec![claim(1)])), None),
            (with_9(), Some((key(), vec![claim(1), claim(7)])), None),
            (with_9(), Some((key(), vec![claim(9)])), Some("claims_mismatch")),
            (with_9(), Some((key(), vec![claim(1), claim(9), claim(7)])), Some("claims_mismatch")),
            (with_9(), Some((key(), vec![claim(1), claim(7), claim(8)])), Some("claims_mismatch")),
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
            let found = expected.compare(&name, stored.as_ref()).err().map(|finding| finding.kind);
            assert_eq!(found.as_ref().map(FindingKind::code), code, "{stored:?}: {found:?}");
            if let Some(FindingKind::ClaimsMismatch { missing, unexpected, .. }) = found {
                counts.push((missing, unexpected));
            }
        }
        assert_eq!(counts, [(1, 0), (0, 1), (0, 1), (1, 1), (2, 0), (0, 1)]);
    }
}

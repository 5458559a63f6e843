//! Scans the log: checks each event against the events before it, collects its effects on the key store, and
//! compares those with the stored entries, including orphaned entries.

use std::collections::{BTreeSet, HashMap};
use std::pin::pin;
use std::slice::from_ref;

use futures::TryStreamExt;

use super::claims::{ClaimReader, StoredEntry};
use super::finding::{Finding, FindingKind, VerifyError};
use super::key_store::{ExpectedEntry, KeyStoreComparison};
use super::pages::{effects, pages};
use super::sequence::LogSequence;
use super::streams::Streams;
use crate::error::StoreError;
use crate::event::{Position, StreamId};
use crate::event_store::EventStore;
use crate::key_store::KeyEntry;
use crate::read::unseal_with;

/// Number of stream names read at once.
const PAGE: usize = 10_000;
/// Number of events of a stream read at once.
const STREAM_PAGE: usize = 1000;
/// Maximum number of repeated comparisons of streams that change while they are compared.
const MAX_RECHECKS: usize = 10;

impl EventStore {
    /// Verifies the events up to `until`.
    pub(super) async fn scan_to(
        &self,
        sequence: &mut LogSequence,
        comparison: &mut KeyStoreComparison,
        reader: ClaimReader,
        until: Position,
        each_page: &mut (dyn FnMut(Position, Position) + Send),
    ) -> Result<(), VerifyError> {
        let mut pages = pin!(pages(self, sequence.tiles(), reader, sequence.position(), until));
        while let Some(page) = pages.try_next().await? {
            sequence.note_tile_mismatch(page.tile_mismatch);
            let undecodable = page.effects.as_ref().err().and_then(VerifyError::finding);
            for header in page.headers {
                let position = header.position;
                sequence.apply(&header)?;
                let found = [page.leaf_mismatch.as_ref(), undecodable].into_iter().flatten();
                if let Some(finding) = found.into_iter().find(|finding| finding.position == position) {
                    return Err(finding.clone().into());
                }
            }
            comparison.apply(&page.effects?, &page.stored, &mut sequence.streams)?;
            if let Some(finding) = page.unreadable {
                return Err(finding.into());
            }
            if sequence.position() < page.end && page.end == until {
                let missing = sequence.position().next();
                return Err(Finding::new(missing, FindingKind::EventMissingBeforeHead { head: until }).into());
            }
            each_page(sequence.position(), until);
        }
        Ok(())
    }

    async fn scan_to_head(
        &self,
        sequence: &mut LogSequence,
        comparison: &mut KeyStoreComparison,
        reader: ClaimReader,
    ) -> Result<(), VerifyError> {
        let head = self.head().await?.position;
        self.scan_to(sequence, comparison, reader, head, &mut |_, _| {}).await
    }

    /// Compares the key store with the events. The key store is read later than the events, so a stream that
    /// differs is compared again with the events appended in the meantime, until no event has come in
    /// between.
    pub(super) async fn check_claims(
        &self,
        sequence: &mut LogSequence,
        comparison: &mut KeyStoreComparison,
        reader: ClaimReader,
    ) -> Result<(), VerifyError> {
        let mut mismatches = self.orphaned_entries(&sequence.streams).await?;
        mismatches.extend(comparison.mismatches.iter().cloned());
        for _ in 0..MAX_RECHECKS {
            if mismatches.is_empty() {
                return Ok(());
            }
            self.scan_to_head(sequence, comparison, reader).await?;
            let wrong = self.find_mismatches(sequence.position(), &mismatches, reader).await?;
            let before: HashMap<_, _> =
                wrong.keys().map(|stream| (stream, sequence.streams.version(stream))).collect();
            self.scan_to_head(sequence, comparison, reader).await?;
            // Without a new event of the stream in between, the difference is a finding.
            let confirmed = wrong
                .iter()
                .filter(|(stream, _)| before.get(stream) == Some(&sequence.streams.version(stream)));
            if let Some((_, finding)) = confirmed.min_by_key(|(_, finding)| finding.position) {
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

    /// Compares the key store entries of these streams with their events up to a position; returns those that
    /// differ.
    async fn find_mismatches(
        &self,
        until: Position,
        streams: &BTreeSet<StreamId>,
        reader: ClaimReader,
    ) -> Result<HashMap<StreamId, Finding>, VerifyError> {
        let mut wrong = HashMap::new();
        for stream in streams {
            let stored = self.backend().key_entries_with_claims(from_ref(stream)).await?;
            let stored = stored.into_iter().next().map(|(_, entry, claims)| (entry, claims));
            let expected = self.expected_entry(stream, stored.as_ref(), until, reader).await?;
            if let Err(finding) = expected.compare(stream, stored.as_ref()) {
                wrong.insert(stream.clone(), finding);
            }
        }
        Ok(wrong)
    }

    /// The key store entry that the events of a stream up to a position imply.
    pub(crate) async fn expected_entry(
        &self,
        stream: &StreamId,
        stored: Option<&StoredEntry>,
        until: Position,
        reader: ClaimReader,
    ) -> Result<ExpectedEntry, VerifyError> {
        // Without an entry nothing can be decrypted, and that it is missing is all there is to find.
        let own_entry = stored.filter(|_| stream.owns_key());
        let (key_owner, key) = (stream.key_owner(), own_entry.map_or(&KeyEntry::Erased, |(entry, _)| entry));
        let (mut expected, mut after) = (ExpectedEntry::default(), 0);
        loop {
            let mut events = self.backend().stream(stream, after, STREAM_PAGE).await?;
            let is_last = events.len() < STREAM_PAGE;
            after = events.last().map_or(after, |event| event.version);
            events.retain(|event| event.position <= until);
            let sealed = events.iter().any(|event| event.sealed.is_some());
            let keys = sealed.then_some((&key_owner, key)).into_iter();
            let events = unseal_with(keys, self.masters(), events).await?;
            for effects in effects(self, reader, events)? {
                expected.apply(effects);
            }
            if is_last {
                return Ok(expected);
            }
        }
    }

    /// Finds orphaned entries: streams with an entry in the key store and no event so far, or without a key of
    /// their own.
    async fn orphaned_entries(&self, streams: &Streams) -> Result<BTreeSet<StreamId>, StoreError> {
        let mut orphaned_entries = BTreeSet::new();
        let mut after = None;
        loop {
            let page = self.backend().key_entry_streams(after.as_ref(), PAGE).await?;
            let is_orphaned = |stream: &&StreamId| streams.version(stream) == 0 || !stream.owns_key();
            orphaned_entries.extend(page.iter().filter(is_orphaned).cloned());
            after = page.last().cloned();
            if page.len() < PAGE {
                return Ok(orphaned_entries);
            }
        }
    }
}

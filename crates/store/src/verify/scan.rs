//! Scans the log: checks each event against the events before it, collects its effects on the key store, and
//! compares those with the stored entries, including orphaned entries.

use std::collections::{BTreeSet, HashMap};
use std::pin::pin;

use futures::TryStreamExt;

use super::claims::ClaimReader;
use super::finding::{Finding, FindingKind, VerifyError};
use super::key_store::ExpectedEntries;
use super::pages::pages;
use super::sequence::LogSequence;
use crate::error::StoreError;
use crate::event::{Position, StreamId};
use crate::event_store::EventStore;

/// Number of stream names read at once.
const PAGE: usize = 10_000;
/// Maximum number of repeated comparisons of streams that change while they are compared.
const MAX_RECHECKS: usize = 10;

impl EventStore {
    /// Verifies the events up to `until`.
    pub(super) async fn scan_to(
        &self,
        sequence: &mut LogSequence,
        expected: &mut ExpectedEntries,
        reader: ClaimReader,
        until: Position,
        each_page: &mut (dyn FnMut(Position, Position) + Send),
    ) -> Result<(), VerifyError> {
        let mut pages = pin!(pages(self, sequence.tiles(), reader, sequence.position(), until));
        while let Some(page) = pages.try_next().await? {
            sequence.note_tile_mismatch(page.tile_mismatch);
            let effects = page.effects.as_ref().err().and_then(VerifyError::finding);
            for header in page.headers {
                let position = header.position;
                sequence.apply(&header)?;
                let found = [page.leaf_mismatch.as_ref(), effects].into_iter().flatten();
                if let Some(finding) = found.into_iter().find(|finding| finding.position == position) {
                    return Err(finding.clone().into());
                }
            }
            expected.apply(page.effects?, &page.stored);
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
        expected: &mut ExpectedEntries,
        reader: ClaimReader,
    ) -> Result<(), VerifyError> {
        let head = self.head().await?.position;
        self.scan_to(sequence, expected, reader, head, &mut |_, _| {}).await
    }

    /// Compares the key store with the events. The key store is read later than the events, so a stream that
    /// differs is compared again with the events appended in the meantime, until no event has come in
    /// between.
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
            // Without a new event of the stream in between, the difference is a finding.
            let confirmed =
                wrong.iter().filter(|(stream, _)| before.get(stream) == Some(&expected.last(stream)));
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

    /// Compares the key store entries of these streams; returns those that differ from the events.
    async fn find_mismatches(
        &self,
        expected: &ExpectedEntries,
        streams: &BTreeSet<StreamId>,
    ) -> Result<HashMap<StreamId, Finding>, StoreError> {
        let stored =
            self.backend().key_entries_with_claims(&streams.iter().cloned().collect::<Vec<_>>()).await?;
        let stored: HashMap<_, _> =
            stored.into_iter().map(|(stream, entry, claims)| (stream, (entry, claims))).collect();
        let compare =
            |stream: &StreamId| Some((stream.clone(), expected.compare(stream, stored.get(stream)).err()?));
        Ok(streams.iter().filter_map(compare).collect())
    }

    /// Finds orphaned entries: streams with an entry in the key store and no event so far.
    async fn orphaned_entries(&self, expected: &ExpectedEntries) -> Result<BTreeSet<StreamId>, StoreError> {
        let mut orphaned_entries = BTreeSet::new();
        let mut after = None;
        loop {
            let page = self.backend().key_entry_streams(after.as_ref(), PAGE).await?;
            orphaned_entries.extend(page.iter().filter(|stream| !expected.contains(stream)).cloned());
            after = page.last().cloned();
            if page.len() < PAGE {
                return Ok(orphaned_entries);
            }
        }
    }
}

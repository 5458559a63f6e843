//! Backfills unique claims: gives streams the claims that their events would take if they were appended today.
//! For a kind of claim that was introduced after the events, or whose values are derived by new rules.
//!
//! A claim goes to one of the streams that want it, as a rule to that of the earliest event. The others keep all
//! they have, are reported as collisions, and are tried again each time. Which claims an event takes is for the
//! caller to say.

use std::collections::HashMap;

use crate::backend::EventQuery;
use crate::error::{Corruption, StoreError, WriteError};
use crate::event::{Envelope, Position, StreamId};
use crate::event_store::EventStore;
use crate::key_store::{ClaimBackfill, ClaimHash, ClaimReplacement, KeyEntry};
use crate::verify::{ClaimReader, EventEffects, StoredEntry, VerifyError, effects};

/// Number of events of a page.
const PAGE: usize = 1000;
/// Maximum number of attempts for streams whose claims change while they are replaced.
const MAX_ROUNDS: usize = 5;
/// Collisions that are tried again the next time.
const MAX_COLLISIONS: usize = 1000;

/// A stream that lacks a claim because another one holds it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ClaimCollision {
    /// The stream that lacks it.
    pub stream: StreamId,
    /// The stream that holds it.
    pub owner: StreamId,
}

/// The result of a backfill.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Backfilled {
    /// The number of events that were read.
    pub events: usize,
    /// The streams that lack a claim, also those found earlier.
    pub collisions: Vec<ClaimCollision>,
    /// Events that could not be decrypted or decoded, and were left out.
    pub unreadable: Vec<Position>,
}

/// What is done to the claims of streams.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Mode {
    /// Claims are added. One that this release does not know may have been derived by other rules, and stands for
    /// one that is missing.
    Add,
    /// Those that were derived by earlier rules are removed as well.
    Replace,
}

impl EventStore {
    /// Gives the claims in [`ClaimChange::take_if_free`](crate::ClaimChange::take_if_free) of events of these types
    /// to their streams, up to the head. Resumes where an earlier call under the same `rules` ended. Under higher
    /// rules it begins again, and removes the claims that were derived by the earlier ones; under lower ones it
    /// does nothing. Several processes may call it at once.
    ///
    /// # Errors
    /// [`StoreError`] if the database fails. What was done so far is kept.
    pub async fn backfill_claims(
        &self,
        rules: u64,
        types: &[&str],
        reader: ClaimReader,
    ) -> Result<Backfilled, StoreError> {
        let types: Vec<_> = types.iter().map(|&it| it.to_owned()).collect();
        let mut done = Backfilled::default();
        loop {
            let stored = self.backend().claim_backfill().await?;
            let head = self.head().await?.position;
            let reached = match &stored {
                Some(stored) if stored.rules > rules => return Ok(done),
                Some(stored) if stored.rules == rules => stored.clone(),
                _ => ClaimBackfill::begin(rules, head),
            };
            let mode = if reached.position < reached.replace_until { Mode::Replace } else { Mode::Add };
            // The log may have been restored from a backup.
            let after = reached.position.min(head);
            let (until, types) = (Some(head), types.clone());
            let query = EventQuery { after, until, limit: PAGE, types, ..EventQuery::default() };
            let page = self.read_sealed(&query).await?;
            let is_last = page.len() < PAGE;
            let position = page.last().filter(|_| !is_last).map_or(head, |event| event.position);
            done.events += page.len();
            let wanted = self.effects_of(page, reader, &mut done.unreadable).await?;
            let mut collisions = self.backfill(&wanted, reader, mode).await?;
            let mut pending = reached.collisions.clone();
            if is_last {
                collisions.extend(self.retry(&std::mem::take(&mut pending), reader).await?);
            }
            pending.extend(collisions.iter().map(|collision| collision.stream.clone()));
            pending.sort_unstable();
            pending.dedup();
            pending.truncate(MAX_COLLISIONS);
            let next = ClaimBackfill { position, collisions: pending, ..reached };
            match self.backend().set_claim_backfill(stored.as_ref(), &next).await {
                Ok(()) if is_last => {
                    collisions.sort_by(|one, other| one.stream.cmp(&other.stream));
                    collisions.dedup();
                    return Ok(Backfilled { collisions, ..done });
                }
                // In case of a conflict another process has done this page.
                Ok(()) | Err(WriteError::Conflict) => {}
                Err(WriteError::Store(error)) => return Err(error),
            }
        }
    }

    /// What the events of a page do to the key store. Events that cannot be read are left out.
    async fn effects_of(
        &self,
        page: Vec<Envelope>,
        reader: ClaimReader,
        unreadable: &mut Vec<Position>,
    ) -> Result<Vec<EventEffects>, StoreError> {
        let read = async |events: Vec<Envelope>| {
            let events = self.unseal(events).await?;
            effects(self, reader, events).map_err(store_error)
        };
        match read(page.clone()).await {
            Err(StoreError::Corrupt(_)) => {}
            found => return found,
        }
        let mut found = Vec::new();
        for event in page {
            let position = event.position;
            match read(vec![event]).await {
                Err(StoreError::Corrupt(_)) => unreadable.push(position),
                effects => found.extend(effects?),
            }
        }
        Ok(found)
    }

    /// Tries streams again that lacked a claim earlier.
    async fn retry(
        &self,
        streams: &[StreamId],
        reader: ClaimReader,
    ) -> Result<Vec<ClaimCollision>, StoreError> {
        let mut collisions = Vec::new();
        for stream in streams {
            let mut unreadable = Vec::new();
            let events = self.backend().stream(stream, 0, PAGE).await?;
            let effects = self.effects_of(events, reader, &mut unreadable).await?;
            let wanted: Vec<_> =
                effects.into_iter().rfind(|it| !it.taken_if_free.is_empty()).into_iter().collect();
            collisions.extend(self.backfill(&wanted, reader, Mode::Add).await?);
        }
        Ok(collisions)
    }

    async fn backfill(
        &self,
        effects: &[EventEffects],
        reader: ClaimReader,
        mode: Mode,
    ) -> Result<Vec<ClaimCollision>, StoreError> {
        let wanted: Vec<_> = effects.iter().filter(|effects| !effects.taken_if_free.is_empty()).collect();
        for _ in 0..MAX_ROUNDS {
            let (replacements, collisions) = self.missing_claims(&wanted, reader, mode).await?;
            if replacements.is_empty() {
                return Ok(collisions);
            }
            self.backend().replace_claims(&replacements).await?;
        }
        let what = format!("claims kept changing in {MAX_ROUNDS} attempts to add others");
        Err(StoreError::Unavailable { what, source: None })
    }

    /// The claims that streams lack and can get, and those that other streams hold.
    async fn missing_claims(
        &self,
        wanted: &[&EventEffects],
        reader: ClaimReader,
        mode: Mode,
    ) -> Result<(Vec<ClaimReplacement>, Vec<ClaimCollision>), StoreError> {
        let streams: Vec<_> = wanted.iter().map(|effects| effects.stream.clone()).collect();
        let claims: Vec<_> = wanted.iter().flat_map(|effects| &effects.taken_if_free).copied().collect();
        let stored = self.backend().key_entries_with_claims(&streams).await?;
        let stored: HashMap<_, _> =
            stored.into_iter().map(|(stream, entry, claims)| (stream, (entry, claims))).collect();
        let owners = self.backend().claim_owners(&claims).await?;
        let (mut replacements, mut collisions) = (Vec::new(), Vec::new());
        for effects in wanted {
            let stream = &effects.stream;
            let Some(entry @ (KeyEntry::Key(_), held)) = stored.get(stream) else { continue };
            let (required, if_free) = self.claims_of(effects, entry, reader).await?;
            let mut to = held.clone();
            to.retain(|claim| required.contains(claim) || if_free.contains(claim));
            let missing = if_free.iter().filter(|claim| !held.contains(claim)).count();
            if mode == Mode::Add && to.len() < held.len() {
                if held.len() - to.len() >= missing {
                    continue;
                }
                to.clone_from(held);
            }
            for claim in if_free {
                match owners.get(&claim) {
                    Some(owner) if owner != stream => {
                        collisions.push(ClaimCollision { stream: stream.clone(), owner: owner.clone() });
                    }
                    _ if to.contains(&claim) => {}
                    _ => to.push(claim),
                }
            }
            if to != *held {
                replacements.push(ClaimReplacement { stream: stream.clone(), from: held.clone(), to });
            }
        }
        Ok((replacements, collisions))
    }

    /// The claims that a stream must hold, and those that it holds if no other does. One event tells, unless the
    /// stream holds more than that event has taken.
    async fn claims_of(
        &self,
        effects: &EventEffects,
        entry: &StoredEntry,
        reader: ClaimReader,
    ) -> Result<(Vec<ClaimHash>, Vec<ClaimHash>), StoreError> {
        let (required, if_free) = (&effects.taken, &effects.taken_if_free);
        if entry.1.iter().all(|claim| required.contains(claim) || if_free.contains(claim)) {
            return Ok((required.clone(), if_free.clone()));
        }
        let all = Position::new(u64::MAX);
        let expected = self.expected_entry(&effects.stream, Some(entry), all, reader).await;
        let expected = expected.map_err(store_error)?;
        let (required, if_free) = expected.claims();
        Ok((required.to_vec(), if_free.to_vec()))
    }
}

fn store_error(error: VerifyError) -> StoreError {
    match error {
        VerifyError::Store(error) => error,
        VerifyError::Found(finding) => {
            let what = format!("event {}", finding.position.get());
            Corruption::invalid(what, finding.kind).into()
        }
    }
}

//! Backfills unique claims: gives streams the claims that their events would take if they were appended today.
//! For a kind of claim that was introduced after the events, or whose values are derived by new rules.
//!
//! A claim goes to the first stream that wants it. Streams that want one which another holds keep all they have
//! and are reported as collisions. Which claims an event takes is for the caller to say.

use std::collections::HashMap;

use crate::backend::EventQuery;
use crate::error::{Corruption, StoreError};
use crate::event::{Position, StreamId};
use crate::event_store::EventStore;
use crate::key_store::{ClaimBackfill, ClaimHash, ClaimReplacement, KeyEntry};
use crate::verify::{ClaimReader, EventEffects, VerifyError, effects};

/// Number of events of a page.
const PAGE: usize = 1000;
/// Maximum number of attempts for streams whose claims change while they are replaced. Those that still lack a
/// claim then got it from a commit, or lost it to one.
const MAX_ROUNDS: usize = 5;

/// A stream that lacks a claim because another one holds it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ClaimCollision {
    /// The stream that lacks it.
    pub stream: StreamId,
    /// The stream that holds it.
    pub owner: StreamId,
}

impl EventStore {
    /// Gives the claims in [`ClaimChange::take_if_free`](crate::ClaimChange::take_if_free) of events of these types
    /// to their streams, up to the head. Resumes where an earlier call under the same `rules` ended; under other
    /// rules it begins again, and replaces the claims that were derived by the old ones. Returns the number of
    /// streams that it looked at. Several processes may call it at once.
    ///
    /// # Errors
    /// [`StoreError`] if the database fails, or an event cannot be decoded. What was done so far is kept.
    pub async fn backfill_claims(
        &self,
        rules: &str,
        types: &[&str],
        reader: ClaimReader,
        on_collision: &mut (dyn FnMut(ClaimCollision) + Send),
    ) -> Result<usize, StoreError> {
        let reached = self.backend().claim_backfill().await?.filter(|reached| reached.rules == rules);
        let mut after = reached.as_ref().map_or(Position::START, |reached| reached.position);
        let head = self.head().await?.position;
        let types: Vec<_> = types.iter().map(|&it| it.to_owned()).collect();
        let mut streams = 0;
        while reached.is_none() || after < head {
            let types = types.clone();
            let query = EventQuery { after, until: Some(head), limit: PAGE, types, ..EventQuery::default() };
            let events = self.read(&query).await?;
            let is_last = events.len() < PAGE;
            after = events.last().map_or(head, |event| event.envelope.position);
            let wanted = effects(self, reader, events).map_err(store_error)?;
            streams += wanted.len();
            for collision in self.backfill(&wanted, reader).await? {
                on_collision(collision);
            }
            after = if is_last { head } else { after };
            let reached = ClaimBackfill { rules: rules.to_owned(), position: after };
            self.backend().set_claim_backfill(&reached).await?;
            if is_last {
                break;
            }
        }
        Ok(streams)
    }

    async fn backfill(
        &self,
        wanted: &[EventEffects],
        reader: ClaimReader,
    ) -> Result<Vec<ClaimCollision>, StoreError> {
        let wanted: Vec<_> = wanted.iter().filter(|effects| !effects.taken_if_free.is_empty()).collect();
        let mut collisions = Vec::new();
        for _ in 0..MAX_ROUNDS {
            let replacements;
            (replacements, collisions) = self.missing_claims(&wanted, reader).await?;
            if replacements.is_empty() {
                break;
            }
            self.backend().replace_claims(&replacements).await?;
        }
        Ok(collisions)
    }

    /// The claims that streams lack and can get, and those that other streams hold.
    async fn missing_claims(
        &self,
        wanted: &[&EventEffects],
        reader: ClaimReader,
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
            let mut to: Vec<_> = held.clone();
            to.retain(|claim| required.contains(claim) || if_free.contains(claim));
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
        entry: &(KeyEntry, Vec<ClaimHash>),
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

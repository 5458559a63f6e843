//! Reads the log in pages, with and without filters, with a bounded cost per page independent of the length
//! of the log.

use jiff::Timestamp;

use crate::backend::EventQuery;
use crate::error::{Corruption, StoreError};
use crate::event::{Envelope, Position, StoredEvent};
use crate::event_store::EventStore;
use crate::read::redact;

/// Maximum number of positions scanned for one page when filters match few of the events that an index finds.
const SCAN_WINDOW: u64 = 50_000;

/// A page of the log.
#[derive(Clone, Debug)]
pub struct Page {
    /// The events by ascending position.
    pub events: Vec<StoredEvent>,
    /// The last position scanned, even if no event matched: the `after` of the next page.
    pub next: Position,
}

impl EventStore {
    /// Reads a page of the log. Without [`EventQuery::until`] it ends at the head. With filters a page may be
    /// short or empty before the end; [`Page::next`] shows how far it has read.
    ///
    /// # Errors
    /// [`StoreError::Corrupt`] with the position of an event that is missing, even the last, or cannot be
    /// decrypted.
    pub async fn page(&self, query: &EventQuery) -> Result<Page, StoreError> {
        let (events, next) = self.sealed_page(query).await?;
        Ok(Page { events: self.unseal(events).await?, next })
    }

    /// As [`EventStore::page`], without personal data: erased events are marked, and nothing is decrypted, so that
    /// damaged keys do not matter.
    ///
    /// # Errors
    /// [`StoreError::Corrupt`] with the position of an event that is missing, even the last.
    pub async fn redacted_page(&self, query: &EventQuery) -> Result<Page, StoreError> {
        let (events, next) = self.sealed_page(query).await?;
        Ok(Page { events: redact(self.backend(), events).await?, next })
    }

    /// The events of a page, and the last position scanned.
    async fn sealed_page(&self, query: &EventQuery) -> Result<(Vec<Envelope>, Position), StoreError> {
        let end = match query.until {
            Some(until) => until,
            None => self.head().await?.position,
        };
        let last = if query.needs_scan_window() { end.min(scan_window_end(query.after)) } else { end };
        let events = self.read_sealed(&EventQuery { until: Some(last), ..query.clone() }).await?;
        let found = events.last().map_or(query.after, |event| event.position);
        let next = if events.len() < query.limit { last.max(query.after) } else { found };
        if query.is_unfiltered() && found != next {
            return Err(Corruption::MissingEvents { first: found.next(), last: next }.into());
        }
        Ok((events, next))
    }

    /// Finds the last position above `after`, up to `until`, whose event is older than `moment`; `after` if
    /// there is none. A binary search, since times never decrease as positions increase.
    ///
    /// # Errors
    /// [`StoreError::Corrupt`] with the position of an event that is missing.
    pub async fn last_before(
        &self,
        moment: Timestamp,
        after: Position,
        until: Position,
    ) -> Result<Position, StoreError> {
        let (mut older, mut newer) = (after.get(), until.get().saturating_add(1));
        while newer.saturating_sub(older) > 1 {
            let middle = older + (newer - older) / 2;
            if self.time_at(Position::new(middle)).await? < moment {
                older = middle;
            } else {
                newer = middle;
            }
        }
        Ok(Position::new(older))
    }

    async fn time_at(&self, position: Position) -> Result<Timestamp, StoreError> {
        let found = self.backend().events(&EventQuery::at(position)).await?;
        let event = found.first();
        let event = event.ok_or(Corruption::MissingEvents { first: position, last: position })?;
        Ok(event.at)
    }
}

fn scan_window_end(after: Position) -> Position {
    Position::new(after.get().saturating_add(SCAN_WINDOW))
}

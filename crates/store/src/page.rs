//! Reading the log page by page, with and without filters, so that no request takes the longer the longer the log is.

use jiff::Timestamp;

use crate::backend::EventQuery;
use crate::error::{Corruption, StoreError};
use crate::event::{Position, StoredEvent};
use crate::event_store::EventStore;

/// Positions looked at for one page, when what the filters let through lies scattered in what the index finds.
const SCAN_WINDOW: u64 = 50_000;

/// A part of the log.
#[derive(Clone, Debug)]
pub struct Page {
    /// By ascending position, personal values unsealed.
    pub events: Vec<StoredEvent>,
    /// The last position that was looked at, also when filters let nothing through: the next page's `after`.
    pub next: Position,
}

impl EventStore {
    /// A page of the log. Without [`EventQuery::until`] it ends at the head. With filters a page may be short, or empty,
    /// before the end is reached: only [`Page::next`] tells.
    ///
    /// # Errors
    /// [`StoreError::Corrupt`] with the position of an event that is missing, also at the end, or cannot be unsealed.
    pub async fn page(&self, query: &EventQuery) -> Result<Page, StoreError> {
        let end = match query.until {
            Some(until) => until,
            None => self.head().await?.position,
        };
        let last = if query.needs_scan_window() { end.min(scan_window_end(query.after)) } else { end };
        let events = self.read(&EventQuery { until: Some(last), ..query.clone() }).await?;
        let found = events.last().map_or(query.after, |event| event.envelope.position);
        let next = if events.len() < query.limit { last.max(query.after) } else { found };
        if query.is_unfiltered() && found != next {
            return Err(Corruption::MissingEvents { first: found.next(), last: next }.into());
        }
        Ok(Page { events, next })
    }

    /// The last position above `after`, up to `until`, whose event is older than `moment`; `after` if there is none.
    /// Times never fall as positions rise, so looking at a few events finds it.
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

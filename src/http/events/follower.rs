//! One reader of an event stream, and how far they are. Positions come in order and none is left out; whatever cannot
//! be told for sure ends the stream, and the client, which knows its place, comes back.

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use axum::body::Bytes;
use store::{EventQuery, EventStore, Page, Position, Signal, StoreError};
use tokio::time::{Instant, sleep_until};
use tokio_stream::StreamExt;
use tokio_stream::wrappers::WatchStream;
use tokio_util::sync::CancellationToken;

use super::frame;
use crate::app::App;
use crate::cloud_event::CloudEvent;
use crate::http::extract::EventReader;
use crate::http::problem::Problem;
use crate::http::state::HttpState;

/// How often the head is told: well within the 15 s that are promised.
const HEAD_EVERY: Duration = Duration::from_secs(10);
/// How often the reader's rights are looked at again while nothing happens: well within a minute.
const ASK_EVERY: Duration = Duration::from_secs(30);
/// Events read, and held in memory for one reader, at once.
const BATCH: usize = 100;

/// What is followed.
pub(super) struct Following {
    /// From where on.
    pub(super) after: Position,
    /// The head when that was settled.
    pub(super) head: Position,
    /// Only these types; empty: all.
    pub(super) types: Vec<String>,
}

/// A reader of the stream.
pub(super) struct Follower {
    app: Arc<App>,
    store: EventStore,
    signals: WatchStream<Signal>,
    shutdown: CancellationToken,
    reader: Option<EventReader>,
    types: Vec<String>,
    /// The last position that was looked at.
    at: Position,
    /// The last position that the client knows of.
    told: Option<Position>,
    /// The head as far as is known.
    head: Position,
    tell_head: Instant,
    ask_again: Instant,
}

/// Why a stream ends.
enum End {
    /// The reader may no longer read, or that cannot be found out.
    NoRight,
    /// The log cannot be read.
    Unreadable(StoreError),
    /// An event cannot be rendered.
    Unrenderable(serde_json::Error),
    /// The store has stopped.
    Stopped,
}

impl End {
    fn log(&self) {
        match self {
            Self::NoRight => tracing::debug!("an event stream ended: its reader may no longer read"),
            Self::Stopped => tracing::debug!("an event stream ended: the store has stopped"),
            Self::Unreadable(error) if error.is_transient() => {
                tracing::warn!(%error, "an event stream broke off");
            }
            Self::Unreadable(error) => tracing::error!(%error, "an event stream broke off"),
            Self::Unrenderable(error) => tracing::error!(%error, "an event stream broke off"),
        }
    }
}

impl Follower {
    pub(super) fn new(state: &HttpState, reader: EventReader, following: Following) -> Result<Self, Problem> {
        let store = state.app.node()?.store.clone();
        let Following { after, head, types } = following;
        let now = Instant::now();
        Ok(Self {
            app: Arc::clone(&state.app),
            signals: WatchStream::new(store.signals()),
            store,
            shutdown: state.shutdown.clone(),
            reader: Some(reader),
            types,
            at: after,
            told: None,
            head,
            tell_head: now,
            ask_again: now + ASK_EVERY,
        })
    }

    /// The next piece of the stream; `None` at its end.
    pub(super) async fn next(&mut self) -> Option<Result<Bytes, Infallible>> {
        let shutdown = self.shutdown.clone();
        let piece = tokio::select! {
            biased;
            () = shutdown.cancelled() => return None,
            piece = self.piece() => piece,
        };
        match piece {
            Ok(piece) => Some(Ok(piece.into())),
            Err(end) => {
                end.log();
                None
            }
        }
    }

    async fn piece(&mut self) -> Result<String, End> {
        loop {
            if Instant::now() >= self.ask_again {
                self.ask_again().await?;
            }
            if Instant::now() >= self.tell_head {
                return Ok(self.tell_head());
            }
            if self.at < self.head {
                let events = self.read().await?;
                if !events.is_empty() {
                    return Ok(events);
                }
            } else {
                self.wait().await?;
            }
        }
    }

    /// The events up to the head, at most [`BATCH`].
    async fn read(&mut self) -> Result<String, End> {
        let query = EventQuery {
            after: self.at,
            until: Some(self.head),
            limit: BATCH,
            types: self.types.clone(),
            ..EventQuery::default()
        };
        let Page { events, next } = self.store.page(&query).await.map_err(End::Unreadable)?;
        let last = events.last().map(|event| event.envelope.position);
        if let Some(last) = last {
            self.ask_as_of(last).await?;
        }
        let disclosure = self.reader.as_ref().ok_or(End::NoRight)?.disclosure;
        let mut out = String::new();
        for event in &events {
            let event = CloudEvent::new(event, self.store.log_id(), disclosure);
            out.push_str(&frame::event(&event).map_err(End::Unrenderable)?);
        }
        self.at = next;
        self.told = last.or(self.told);
        Ok(out)
    }

    /// How far the log is, and, if the client does not know yet, how far the search is.
    fn tell_head(&mut self) -> String {
        let mut out = frame::head(self.head.get());
        if self.told != Some(self.at) {
            out.push_str(&frame::progress(self.at.get()));
            self.told = Some(self.at);
        }
        self.tell_head = Instant::now() + HEAD_EVERY;
        out
    }

    /// Until there is something to do.
    async fn wait(&mut self) -> Result<(), End> {
        tokio::select! {
            () = sleep_until(self.tell_head.min(self.ask_again)) => {}
            news = self.signals.next() => self.head = self.head.max(news.ok_or(End::Stopped)?.head),
        }
        Ok(())
    }

    /// Asks for the reader's rights as they are at that position, so that nobody is told what happened after they had
    /// lost them. Where the rows do not get there, they count as they are, as for any other request.
    async fn ask_as_of(&mut self, position: Position) -> Result<(), End> {
        let rows = &self.app.node().map_err(|_| End::NoRight)?.user_rows;
        if let Err(error) = rows.reach(position).await {
            tracing::debug!(%error, "an event stream goes on with the rights that the rows show");
        }
        self.ask_again().await
    }

    async fn ask_again(&mut self) -> Result<(), End> {
        let reader = self.reader.take().ok_or(End::NoRight)?;
        self.reader = Some(reader.ask_again(&self.app).await.map_err(|_| End::NoRight)?);
        self.ask_again = Instant::now() + ASK_EVERY;
        Ok(())
    }
}

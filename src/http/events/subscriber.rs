//! One reader of an event stream, and how far they are. Positions come in order and none is left out; whatever cannot
//! be told for sure ends the stream, and the client, which knows its slot, comes back.
//!
//! What is new comes from the [`Broadcaster`](super::broadcaster::Broadcaster), ready to be sent; whoever is further back than that reads the
//! log for themselves, a page at a time, as fast as they take it. Nothing is kept for anybody: whoever was told what is
//! new and then does not take it is sent away, with the position to come back with.

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use axum::body::Bytes;
use store::{EventQuery, EventStore, Page, Position, StoreError};
use tokio::time::{Instant, sleep_until};
use tokio_util::sync::CancellationToken;

use super::broadcaster::{BroadcastEnded, BroadcastSubscription};
use super::event_buffer::{NextEvents, ReaderView};
use super::reader_slots::ReaderSlot;
use super::sse;
use crate::app::App;
use crate::cloud_event::CloudEvent;
use crate::http::api_error::ApiError;
use crate::http::extract::EventReader;
use crate::http::state::HttpState;

/// How often the head is last_id_sent: well within the 15 s that are promised.
const HEAD_INTERVAL: Duration = Duration::from_secs(10);
/// How often the reader's rights are looked at again while nothing happens: well within a minute.
const AUTHORIZATION_INTERVAL: Duration = Duration::from_secs(10);
/// The same while the rows that tell of them are behind.
const AUTHORIZATION_RETRY: Duration = Duration::from_secs(1);
/// Events read, and held in memory for one reader, at once.
const BATCH: usize = 100;
/// How long a reader may leave what they are sent, once that fills all that lies between.
const SLOW_READER_TIMEOUT: Duration = Duration::from_secs(30);

/// What is followed.
pub(super) struct StreamStart {
    /// From where on.
    pub(super) after: Position,
    /// Up to here, what happened to the reader has been looked at.
    pub(super) authorized_at: Position,
    /// Only these types; empty: all.
    pub(super) types: Vec<String>,
}

/// A reader of the stream.
pub(super) struct StreamSubscriber {
    app: Arc<App>,
    store: EventStore,
    broadcast: BroadcastSubscription,
    shutdown: CancellationToken,
    reader: Option<EventReader>,
    /// Counted for as long as they follow.
    _slot: ReaderSlot,
    types: Vec<String>,
    /// The last position that was looked at.
    at: Position,
    /// The last position that the client knows of.
    last_id_sent: Option<Position>,
    /// Up to here, what happened to the reader has been looked at.
    authorized_at: Position,
    /// Whether they have been told all there was.
    is_live: bool,
    /// When the last chunk was handed over.
    last_chunk_at: Option<Instant>,
    next_head_comment: Instant,
    next_authorization: Instant,
    has_ended: bool,
}

/// Why a stream ends.
enum StreamEnd {
    /// The reader may no longer read, or that cannot be found out.
    Unauthorized,
    /// They do not take what they are sent.
    TooSlow,
    /// The feed has failed.
    BroadcasterFailed,
    /// The log cannot be read.
    Unreadable(StoreError),
    /// An event cannot be rendered.
    Unrenderable(serde_json::Error),
}

impl StreamEnd {
    fn log(&self) {
        match self {
            Self::Unauthorized => tracing::debug!("an event stream ended: its reader may no longer read"),
            Self::BroadcasterFailed => {
                tracing::error!("an event stream ended: nobody reads the log any more")
            }
            Self::TooSlow => tracing::info!("an event stream ended: its reader was too slow"),
            Self::Unreadable(error) if error.is_transient() => {
                tracing::warn!(%error, "an event stream broke off");
            }
            Self::Unreadable(error) => tracing::error!(%error, "an event stream broke off"),
            Self::Unrenderable(error) => tracing::error!(%error, "an event stream broke off"),
        }
    }
}

impl StreamSubscriber {
    pub(super) fn new(
        state: &HttpState,
        reader: EventReader,
        slot: ReaderSlot,
        start: StreamStart,
    ) -> Result<Self, ApiError> {
        let store = state.app.services()?.store.clone();
        let StreamStart { after, authorized_at, types } = start;
        let now = Instant::now();
        Ok(Self {
            app: Arc::clone(&state.app),
            broadcast: state.broadcaster()?.subscribe(),
            store,
            shutdown: state.shutdown.clone(),
            reader: Some(reader),
            _slot: slot,
            types,
            at: after,
            last_id_sent: None,
            authorized_at,
            is_live: false,
            last_chunk_at: None,
            next_head_comment: now,
            next_authorization: now + AUTHORIZATION_INTERVAL,
            has_ended: false,
        })
    }

    /// The next chunk of the stream; `None` at its end.
    pub(super) async fn next(&mut self) -> Option<Result<Bytes, Infallible>> {
        if self.has_ended {
            return None;
        }
        let shutdown = self.shutdown.clone();
        let chunk = tokio::select! {
            biased;
            () = shutdown.cancelled() => return None,
            chunk = self.next_chunk() => chunk,
        };
        match chunk {
            Ok(chunk) => {
                self.last_chunk_at = Some(Instant::now());
                Some(Ok(chunk))
            }
            Err(end) => {
                end.log();
                self.has_ended = true;
                matches!(end, StreamEnd::TooSlow).then(|| Ok(sse::too_slow(self.at.get()).into()))
            }
        }
    }

    // What is seldom done is boxed: room for it would be kept for each of those who only wait.
    async fn next_chunk(&mut self) -> Result<Bytes, StreamEnd> {
        // This is asked for as soon as there is room for it on the way to the client.
        if self.is_live
            && self.last_chunk_at.is_some_and(|last_chunk_at| last_chunk_at.elapsed() > SLOW_READER_TIMEOUT)
        {
            return Err(StreamEnd::TooSlow);
        }
        loop {
            if Instant::now() >= self.next_authorization {
                Box::pin(self.refresh_authorization()).await?;
            }
            if Instant::now() >= self.next_head_comment {
                return Ok(self.head_comment().into());
            }
            let chunk = if self.is_live { self.from_buffer().await? } else { self.from_log().await? };
            if let Some(chunk) = chunk {
                return Ok(chunk);
            }
        }
    }

    /// What is new, for one who was up to date.
    async fn from_buffer(&mut self) -> Result<Option<Bytes>, StreamEnd> {
        let reader = self.reader.as_ref().ok_or(StreamEnd::Unauthorized)?;
        let (types, authorized_at) = (&self.types, self.authorized_at);
        let view =
            ReaderView { disclosure: reader.disclosure, types, own_stream: &reader.stream, authorized_at };
        match self.broadcast.next(self.at, &view) {
            NextEvents::Events { events, last_shown, at } => {
                self.at = at;
                self.last_id_sent = last_shown.or(self.last_id_sent);
                return Ok((!events.is_empty()).then_some(events));
            }
            NextEvents::RecheckAuthorization(position) => {
                if !Box::pin(self.reauthorize_at(position)).await? {
                    // It was something that happened to themselves.
                    return Err(StreamEnd::Unauthorized);
                }
                self.authorized_at = position;
            }
            NextEvents::UpToDate => self.wait().await?,
            NextEvents::Evicted => return Err(StreamEnd::TooSlow),
            // The feed has begun anew.
            NextEvents::NotBuffered => self.is_live = false,
        }
        Ok(None)
    }

    /// What is further back, from the log itself: nobody who comes later is shown what was kept ready for others, and was
    /// erased this moment.
    async fn from_log(&mut self) -> Result<Option<Bytes>, StreamEnd> {
        let head = self.store.progress().head;
        if self.broadcast.is_caught_up(self.at) {
            self.is_live = true;
        } else if self.at < head {
            let events = Box::pin(self.read(head)).await?;
            return Ok((!events.is_empty()).then(|| events.into()));
        } else {
            self.wait().await?;
        }
        Ok(None)
    }

    /// The events up to the head, at most [`BATCH`].
    async fn read(&mut self, head: Position) -> Result<String, StreamEnd> {
        let (types, until) = (self.types.clone(), Some(head));
        let query = EventQuery { after: self.at, until, limit: BATCH, types, ..EventQuery::default() };
        let Page { events, next } = self.store.page(&query).await.map_err(StreamEnd::Unreadable)?;
        let last = events.last().map(|event| event.envelope.position);
        self.reauthorize_at(next).await?;
        self.authorized_at = self.authorized_at.max(next);
        let disclosure = self.reader.as_ref().ok_or(StreamEnd::Unauthorized)?.disclosure;
        let mut out = String::new();
        for event in &events {
            let event = CloudEvent::new(event, self.store.log_id(), disclosure);
            out.push_str(&sse::event(&event).map_err(StreamEnd::Unrenderable)?);
        }
        self.at = next;
        self.last_id_sent = last.or(self.last_id_sent);
        Ok(out)
    }

    /// How far the log is, and, if the client does not know yet, how far the search is.
    fn head_comment(&mut self) -> String {
        let mut out = sse::head(self.store.progress().head.get());
        if self.last_id_sent != Some(self.at) {
            out.push_str(&sse::progress(self.at.get()));
            self.last_id_sent = Some(self.at);
        }
        self.next_head_comment = Instant::now() + HEAD_INTERVAL;
        out
    }

    /// Until there is something to do.
    async fn wait(&mut self) -> Result<(), StreamEnd> {
        tokio::select! {
            () = sleep_until(self.next_head_comment.min(self.next_authorization)) => {}
            moved = self.broadcast.changed() => moved.map_err(|BroadcastEnded| StreamEnd::BroadcasterFailed)?,
        }
        // Nobody was waiting for the client meanwhile.
        self.last_chunk_at = None;
        Ok(())
    }

    /// Asks for the reader's rights as they are at that position, so that nobody is told what happened after they had
    /// lost them. Whether the rows that tell of them were that far; if not, they are soon asked again.
    async fn reauthorize_at(&mut self, position: Position) -> Result<bool, StreamEnd> {
        let reader = self.reader.take().ok_or(StreamEnd::Unauthorized)?;
        let (reader, is_certain) =
            reader.reauthorize_at(&self.app, position).await.map_err(|_| StreamEnd::Unauthorized)?;
        self.set_reader(reader, if is_certain { AUTHORIZATION_INTERVAL } else { AUTHORIZATION_RETRY });
        Ok(is_certain)
    }

    async fn refresh_authorization(&mut self) -> Result<(), StreamEnd> {
        let reader = self.reader.take().ok_or(StreamEnd::Unauthorized)?;
        let reader = reader.reauthorize(&self.app).await.map_err(|_| StreamEnd::Unauthorized)?;
        self.set_reader(reader, AUTHORIZATION_INTERVAL);
        Ok(())
    }

    fn set_reader(&mut self, reader: EventReader, until: Duration) {
        self.reader = Some(reader);
        self.next_authorization = Instant::now() + until;
    }
}

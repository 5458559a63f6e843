//! One subscriber of the event stream. Positions are sent in order and without gaps; any error ends the
//! stream, and the client resumes from its last position.
//!
//! New events come from the broadcaster, already rendered. A subscriber that is catching up reads the log
//! page by page instead, at its own pace. Nothing is queued for a subscriber: one that was up to date and
//! then stops reading is disconnected, with the position from which to resume.

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use axum::body::Bytes;
use store::{EventQuery, EventStore, Page, Position};
use tokio::time::{Instant, sleep_until};
use tokio_util::sync::CancellationToken;
use tracing::{Instrument, Span};

use crate::app::App;
use crate::cloud_event::CloudEvent;
use crate::http::api_error::ApiError;
use crate::http::event_feed::broadcaster::{BroadcastSubscription, FeedError};
use crate::http::event_feed::event_buffer::{NextEvents, ReaderView};
use crate::http::event_feed::reader_slots::ReaderSlot;
use crate::http::event_feed::sse;
use crate::http::extract::EventReader;
use crate::http::state::HttpState;

/// Within the documented 15 s.
const HEAD_INTERVAL: Duration = Duration::from_secs(10);
/// How often an idle reader is authorized again.
const AUTHORIZATION_INTERVAL: Duration = Duration::from_secs(10);
/// The same while the read model `users` lags.
const AUTHORIZATION_RETRY: Duration = Duration::from_secs(1);
/// The page size while catching up.
const BATCH: usize = 100;
/// How long a subscriber may leave a chunk unread once all network buffers are full.
const SLOW_READER_TIMEOUT: Duration = Duration::from_secs(20);

pub(super) struct StreamStart {
    pub(super) after: Position,
    /// The position up to which events of the reader were taken into account for their authorization.
    pub(super) authorized_at: Position,
    /// Only these types; empty: all.
    pub(super) types: Vec<String>,
}

pub(super) struct StreamSubscriber {
    app: Arc<App>,
    store: EventStore,
    broadcast: BroadcastSubscription,
    shutdown: CancellationToken,
    /// The span of the request, which has ended when the stream is read.
    span: Span,
    reader: EventReader,
    /// Released when the stream ends.
    _slot: ReaderSlot,
    types: Vec<String>,
    /// The last position that was read.
    at: Position,
    /// The last position that was sent as an id.
    last_id_sent: Option<Position>,
    authorized_at: Position,
    /// Whether the subscriber has caught up, and reads from the broadcaster.
    is_live: bool,
    /// When the last chunk was produced; `None` after waiting for events.
    last_chunk_at: Option<Instant>,
    next_head_comment: Instant,
    next_authorization: Instant,
    has_ended: bool,
}

enum StreamEnd {
    /// The reader lost the authorization, or it cannot be checked.
    Unauthorized,
    TooSlow,
    BroadcasterFailed,
    Broken(FeedError),
}

fn broken(error: impl Into<FeedError>) -> StreamEnd {
    StreamEnd::Broken(error.into())
}

impl StreamEnd {
    fn log(&self) {
        match self {
            Self::Unauthorized => tracing::debug!("event stream ended: reader not authorized any more"),
            Self::BroadcasterFailed => {
                tracing::error!("event stream ended: the broadcaster has failed");
            }
            Self::TooSlow => tracing::info!("event stream ended: reader too slow"),
            Self::Broken(error) if error.is_transient() => {
                tracing::warn!(%error, "event stream ended by an error");
            }
            Self::Broken(error) => tracing::error!(%error, "event stream ended by an error"),
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
            span: Span::current(),
            reader,
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
        let span = self.span.clone();
        self.next_in_span().instrument(span).await
    }

    async fn next_in_span(&mut self) -> Option<Result<Bytes, Infallible>> {
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

    // Rare steps are boxed: their futures would enlarge that of every waiting subscriber.
    async fn next_chunk(&mut self) -> Result<Bytes, StreamEnd> {
        // The connection polls for a chunk as soon as it has room for it.
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
            let chunk =
                if self.is_live { self.next_from_buffer().await? } else { self.next_from_log().await? };
            if let Some(chunk) = chunk {
                return Ok(chunk);
            }
        }
    }

    /// The next events from the broadcaster.
    async fn next_from_buffer(&mut self) -> Result<Option<Bytes>, StreamEnd> {
        let reader = &self.reader;
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
                    // Without a current read model the event of the reader cannot be evaluated.
                    return Err(StreamEnd::Unauthorized);
                }
                self.authorized_at = position;
            }
            NextEvents::UpToDate => self.wait().await?,
            NextEvents::Evicted => return Err(StreamEnd::TooSlow),
            // The broadcast has restarted.
            NextEvents::NotBuffered => self.is_live = false,
        }
        Ok(None)
    }

    /// The next events from the log, until the subscriber has caught up. The log is read instead of the
    /// buffer, because a buffered event may have been erased this moment.
    async fn next_from_log(&mut self) -> Result<Option<Bytes>, StreamEnd> {
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

    /// A page of events up to the head.
    async fn read(&mut self, head: Position) -> Result<String, StreamEnd> {
        let (types, until) = (self.types.clone(), Some(head));
        let query = EventQuery { after: self.at, until, limit: BATCH, types, ..EventQuery::default() };
        let Page { events, next } = self.store.page(&query).await.map_err(broken)?;
        let last = events.last().map(|event| event.envelope.position);
        self.reauthorize_at(next).await?;
        self.authorized_at = self.authorized_at.max(next);
        let disclosure = self.reader.disclosure;
        let mut out = String::new();
        for event in &events {
            let event = CloudEvent::new(event, self.store.identity(), disclosure);
            out.push_str(&sse::event(&event).map_err(broken)?);
        }
        self.at = next;
        self.last_id_sent = last.or(self.last_id_sent);
        Ok(out)
    }

    /// The head of the log and, if it was not sent yet, the last position read.
    fn head_comment(&mut self) -> String {
        let mut out = sse::head(self.store.progress().head.get());
        if self.last_id_sent != Some(self.at) {
            out.push_str(&sse::progress(self.at.get()));
            self.last_id_sent = Some(self.at);
        }
        self.next_head_comment = Instant::now() + HEAD_INTERVAL;
        out
    }

    async fn wait(&mut self) -> Result<(), StreamEnd> {
        tokio::select! {
            () = sleep_until(self.next_head_comment.min(self.next_authorization)) => {}
            moved = self.broadcast.changed() => moved.map_err(|_| StreamEnd::BroadcasterFailed)?,
        }
        // The time spent here was not spent waiting for the client.
        self.last_chunk_at = None;
        Ok(())
    }

    /// Authorizes the reader as of that position, so that a reader does not see events after the loss of the
    /// role. Returns whether the read model had reached the position; if not, the check is soon repeated.
    async fn reauthorize_at(&mut self, position: Position) -> Result<bool, StreamEnd> {
        let reached = self.reader.reauthorize_at(&self.app, position).await;
        let is_certain = reached.map_err(|_| StreamEnd::Unauthorized)?;
        let interval = if is_certain { AUTHORIZATION_INTERVAL } else { AUTHORIZATION_RETRY };
        self.next_authorization = Instant::now() + interval;
        Ok(is_certain)
    }

    async fn refresh_authorization(&mut self) -> Result<(), StreamEnd> {
        self.reader.reauthorize(&self.app).await.map_err(|_| StreamEnd::Unauthorized)?;
        self.next_authorization = Instant::now() + AUTHORIZATION_INTERVAL;
        Ok(())
    }
}

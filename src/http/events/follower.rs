//! One reader of an event stream, and how far they are. Positions come in order and none is left out; whatever cannot
//! be told for sure ends the stream, and the client, which knows its place, comes back.
//!
//! What is new comes from the [`Feed`](super::feed::Feed), ready to be sent; whoever is further back than that reads the
//! log for themselves, a page at a time, as fast as they take it. Nothing is kept for anybody: whoever was told what is
//! new and then does not take it is sent away, with the position to come back with.

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use axum::body::Bytes;
use store::{EventQuery, EventStore, Page, Position, StoreError};
use tokio::time::{Instant, sleep_until};
use tokio_util::sync::CancellationToken;

use super::feed::{Ended, Subscription};
use super::frame;
use super::subscribers::Place;
use super::window::{Next, View};
use crate::app::App;
use crate::cloud_event::CloudEvent;
use crate::http::extract::EventReader;
use crate::http::problem::Problem;
use crate::http::state::HttpState;

/// How often the head is told: well within the 15 s that are promised.
const HEAD_EVERY: Duration = Duration::from_secs(10);
/// How often the reader's rights are looked at again while nothing happens: well within a minute.
const ASK_EVERY: Duration = Duration::from_secs(10);
/// The same while the rows that tell of them are behind.
const ASK_SOON: Duration = Duration::from_secs(1);
/// Events read, and held in memory for one reader, at once.
const BATCH: usize = 100;
/// How long a reader may leave what they are sent, once that fills all that lies between.
const PATIENCE: Duration = Duration::from_secs(30);

/// What is followed.
pub(super) struct Following {
    /// From where on.
    pub(super) after: Position,
    /// Up to here, what happened to the reader has been looked at.
    pub(super) judged: Position,
    /// Only these types; empty: all.
    pub(super) types: Vec<String>,
}

/// A reader of the stream.
pub(super) struct Follower {
    app: Arc<App>,
    store: EventStore,
    feed: Subscription,
    shutdown: CancellationToken,
    reader: Option<EventReader>,
    /// Counted for as long as they follow.
    _place: Place,
    types: Vec<String>,
    /// The last position that was looked at.
    at: Position,
    /// The last position that the client knows of.
    told: Option<Position>,
    /// Up to here, what happened to the reader has been looked at.
    judged: Position,
    /// Whether they have been told all there was.
    is_live: bool,
    /// When the last piece was handed over.
    handed: Option<Instant>,
    tell_head: Instant,
    ask_again: Instant,
    has_ended: bool,
}

/// Why a stream ends.
enum End {
    /// The reader may no longer read, or that cannot be found out.
    NoRight,
    /// They do not take what they are sent.
    TooSlow,
    /// The feed has failed.
    Failed,
    /// The log cannot be read.
    Unreadable(StoreError),
    /// An event cannot be rendered.
    Unrenderable(serde_json::Error),
}

impl End {
    fn log(&self) {
        match self {
            Self::NoRight => tracing::debug!("an event stream ended: its reader may no longer read"),
            Self::Failed => tracing::error!("an event stream ended: nobody reads the log any more"),
            Self::TooSlow => tracing::info!("an event stream ended: its reader was too slow"),
            Self::Unreadable(error) if error.is_transient() => {
                tracing::warn!(%error, "an event stream broke off");
            }
            Self::Unreadable(error) => tracing::error!(%error, "an event stream broke off"),
            Self::Unrenderable(error) => tracing::error!(%error, "an event stream broke off"),
        }
    }
}

impl Follower {
    pub(super) fn new(
        state: &HttpState,
        reader: EventReader,
        place: Place,
        following: Following,
    ) -> Result<Self, Problem> {
        let store = state.app.node()?.store.clone();
        let Following { after, judged, types } = following;
        let now = Instant::now();
        Ok(Self {
            app: Arc::clone(&state.app),
            feed: state.feed()?.subscribe(),
            store,
            shutdown: state.shutdown.clone(),
            reader: Some(reader),
            _place: place,
            types,
            at: after,
            told: None,
            judged,
            is_live: false,
            handed: None,
            tell_head: now,
            ask_again: now + ASK_EVERY,
            has_ended: false,
        })
    }

    /// The next piece of the stream; `None` at its end.
    pub(super) async fn next(&mut self) -> Option<Result<Bytes, Infallible>> {
        if self.has_ended {
            return None;
        }
        let shutdown = self.shutdown.clone();
        let piece = tokio::select! {
            biased;
            () = shutdown.cancelled() => return None,
            piece = self.piece() => piece,
        };
        match piece {
            Ok(piece) => {
                self.handed = Some(Instant::now());
                Some(Ok(piece))
            }
            Err(end) => {
                end.log();
                self.has_ended = true;
                matches!(end, End::TooSlow).then(|| Ok(frame::too_slow(self.at.get()).into()))
            }
        }
    }

    // What is seldom done is boxed: room for it would be kept for each of those who only wait.
    async fn piece(&mut self) -> Result<Bytes, End> {
        // This is asked for as soon as there is room for it on the way to the client.
        if self.is_live && self.handed.is_some_and(|handed| handed.elapsed() > PATIENCE) {
            return Err(End::TooSlow);
        }
        loop {
            if Instant::now() >= self.ask_again {
                Box::pin(self.ask_again()).await?;
            }
            if Instant::now() >= self.tell_head {
                return Ok(self.tell_head().into());
            }
            let piece = if self.is_live { self.newest().await? } else { self.older().await? };
            if let Some(piece) = piece {
                return Ok(piece);
            }
        }
    }

    /// What is new, for one who was up to date.
    async fn newest(&mut self) -> Result<Option<Bytes>, End> {
        let reader = self.reader.as_ref().ok_or(End::NoRight)?;
        let (types, judged) = (&self.types, self.judged);
        let view = View { disclosure: reader.disclosure, types, own: &reader.stream, judged };
        match self.feed.next(self.at, &view) {
            Next::Here { events, shown, at } => {
                self.at = at;
                self.told = shown.or(self.told);
                return Ok((!events.is_empty()).then_some(events));
            }
            Next::Judge(position) => {
                if !Box::pin(self.ask_as_of(position)).await? {
                    // It was something that happened to themselves.
                    return Err(End::NoRight);
                }
                self.judged = position;
            }
            Next::UpToDate => self.wait().await?,
            Next::Passed => return Err(End::TooSlow),
            // The feed has begun anew.
            Next::Unknown => self.is_live = false,
        }
        Ok(None)
    }

    /// What is further back, from the log itself: nobody who comes later is shown what was kept ready for others, and was
    /// erased this moment.
    async fn older(&mut self) -> Result<Option<Bytes>, End> {
        let head = self.store.signal().head;
        if self.feed.is_reached(self.at) {
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
    async fn read(&mut self, head: Position) -> Result<String, End> {
        let (types, until) = (self.types.clone(), Some(head));
        let query = EventQuery { after: self.at, until, limit: BATCH, types, ..EventQuery::default() };
        let Page { events, next } = self.store.page(&query).await.map_err(End::Unreadable)?;
        let last = events.last().map(|event| event.envelope.position);
        self.ask_as_of(next).await?;
        self.judged = self.judged.max(next);
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
        let mut out = frame::head(self.store.signal().head.get());
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
            moved = self.feed.moved() => moved.map_err(|Ended| End::Failed)?,
        }
        // Nobody was waiting for the client meanwhile.
        self.handed = None;
        Ok(())
    }

    /// Asks for the reader's rights as they are at that position, so that nobody is told what happened after they had
    /// lost them. Whether the rows that tell of them were that far; if not, they are soon asked again.
    async fn ask_as_of(&mut self, position: Position) -> Result<bool, End> {
        let reader = self.reader.take().ok_or(End::NoRight)?;
        let (reader, is_certain) = reader.ask_as_of(&self.app, position).await.map_err(|_| End::NoRight)?;
        self.keep(reader, if is_certain { ASK_EVERY } else { ASK_SOON });
        Ok(is_certain)
    }

    async fn ask_again(&mut self) -> Result<(), End> {
        let reader = self.reader.take().ok_or(End::NoRight)?;
        let reader = reader.ask_again(&self.app).await.map_err(|_| End::NoRight)?;
        self.keep(reader, ASK_EVERY);
        Ok(())
    }

    fn keep(&mut self, reader: EventReader, until: Duration) {
        self.reader = Some(reader);
        self.ask_again = Instant::now() + until;
    }
}

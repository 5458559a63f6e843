//! `GET /events`

use std::time::Duration;

use axum::Json;
use axum::extract::State;
use jiff::Timestamp;
use serde::Serialize;
use store::{EventQuery, Position};
use tokio::time::{Instant, sleep, timeout_at};
use utoipa::ToSchema;

use crate::app::App;
use crate::cloud_event::{CloudEvent, Disclosure, OPERATOR};
use crate::http::api_error::{ApiError, Loc};
use crate::http::extract::{EventReader, EventTypes, Limit, QueryParams};
use crate::http::state::HttpState;

const DEFAULT_LIMIT: usize = 100;
const MAX_LIMIT: u64 = 1000;
const MAX_WAIT_SECONDS: u64 = 60;
/// A long poll with filters reads the events of this interval together.
const COALESCING_DELAY: Duration = Duration::from_millis(50);

/// A page of the log.
#[derive(Serialize, ToSchema)]
#[schema(as = EventPage)]
pub(crate) struct EventPage {
    /// By ascending position.
    events: Vec<CloudEvent>,
    /// The last position that was read, whether or not the filters matched: the `after` of the next page. A
    /// short or empty page is not necessarily the last.
    next: u64,
    /// The id of the log, which is the last part of each event's `source`.
    log: String,
    /// The epoch of the log: raised when it was restored from a backup. The same positions may then hold other
    /// events.
    epoch: u64,
    /// The head of the log when the page was read. The last page has been reached when `next` equals `head`.
    head: u64,
}

pub(crate) struct EventsQuery {
    query: EventQuery,
    /// Inclusive.
    from: Option<Timestamp>,
    /// Exclusive.
    to: Option<Timestamp>,
    /// The long-poll timeout.
    wait: Duration,
}

impl EventsQuery {
    fn read(mut params: QueryParams) -> Result<Self, ApiError> {
        let query = EventQuery {
            after: params.position("after").unwrap_or_default(),
            until: None,
            limit: params.limit(MAX_LIMIT, DEFAULT_LIMIT),
            types: params.event_types("types"),
            stream: params.stream("stream"),
            actor: params.text("actor"),
        };
        let wait = Duration::from_secs(params.number("wait", 0..=MAX_WAIT_SECONDS).unwrap_or_default());
        let query = Self { query, from: params.time("from"), to: params.time("to"), wait };
        params.finish(query)
    }

    fn is_unfiltered(&self) -> bool {
        let EventQuery { types, stream, actor, .. } = &self.query;
        types.is_empty() && stream.is_none() && actor.is_none()
    }
}

/// Reads a page of the event log. With `wait`, an empty page is held back until a matching event is
/// committed.
#[utoipa::path(
    get, path = "/events",
    params(
        ("after" = Option<u64>, Query, description = "Only positions above this one; 0 by default"),
        Limit<MAX_LIMIT>,
        EventTypes,
        ("stream" = Option<String>, Query, pattern = "^[a-z0-9-]{1,128}$", description = "Only this stream, such as `user-0193…`"),
        ("actor" = Option<String>, Query, min_length = 1, description = "Only events caused by this actor"),
        ("from" = Option<String>, Query, format = DateTime, description = "Only events at or after this time (RFC 3339)"),
        ("to" = Option<String>, Query, format = DateTime, description = "Only events before this time (RFC 3339)"),
        ("wait" = Option<u64>, Query, minimum = 0, maximum = 60, description = "Long-poll timeout in seconds: at most 60"),
    ),
    responses(
        (status = 200, description = "A page of events", body = EventPage),
        EventReader,
        (status = 422, description = "Invalid parameters"),
        (status = 429, description = "`too_many_readers`: more than 100 streams and long polls"),
        (status = 503, description = "`unavailable`"),
    ),
)]
pub(crate) async fn list_events(
    State(state): State<HttpState>,
    reader: EventReader,
    params: QueryParams,
) -> Result<Json<EventPage>, ApiError> {
    let asked = EventsQuery::read(params)?;
    // Otherwise the filter would tell a reader who does not see the login names of operators who acted.
    let names_operator = asked.query.actor.as_deref().is_some_and(|actor| actor.starts_with(OPERATOR));
    if names_operator && reader.disclosure == Disclosure::Redacted {
        return Err(ApiError::Forbidden);
    }
    if asked.wait.is_zero() {
        let head = state.app.services()?.store.head().await?.position;
        return page(&state.app, &reader, &asked, head).await.map(Json);
    }
    let _slot = state.reader_slots.acquire(&reader.stream).ok_or(ApiError::TooManyReaders)?;
    wait(&state, reader, asked).await.map(Json)
}

/// Long poll: the first non-empty page, or the page at the timeout.
async fn wait(
    state: &HttpState,
    mut reader: EventReader,
    mut asked: EventsQuery,
) -> Result<EventPage, ApiError> {
    let app = &state.app;
    let store = &app.services()?.store;
    let mut updates = store.watch_progress();
    let deadline = Instant::now() + asked.wait;
    let mut head = store.head().await?.position;
    loop {
        let found = page(app, &reader, &asked, head).await?;
        // Event times never decrease, so nothing can match after `to` has passed.
        let left = asked.to.map(|to| to.duration_since(app.env.now()));
        let left = left.map(|left| Duration::try_from(left).unwrap_or_default());
        let until = deadline.min(Instant::now() + left.unwrap_or(asked.wait));
        if !found.events.is_empty() || Instant::now() >= until || state.shutdown.is_cancelled() {
            return Ok(found);
        }
        asked.query.after = Position::new(found.next);
        let known = head;
        if found.next >= found.head {
            let news = tokio::select! {
                news = timeout_at(until, updates.wait_for(|progress| progress.head > known)) => {
                    news.ok().and_then(|news| Some(news.ok()?.head))
                }
                // Answer now, so that the client can continue on another node.
                () = state.shutdown.cancelled() => None,
            };
            let Some(news) = news else { return Ok(found) };
            head = news;
        }
        // Do not read events that the filters reject one by one.
        if !asked.is_unfiltered() {
            sleep(COALESCING_DELAY).await;
            head = head.max(store.progress().head);
        }
        // A reader who has lost the role must not see later events.
        reader.reauthorize_at(app, head).await?;
    }
}

/// A page of the log up to that head.
async fn page(
    app: &App,
    reader: &EventReader,
    asked: &EventsQuery,
    head: Position,
) -> Result<EventPage, ApiError> {
    let EventsQuery { query, from, to, .. } = asked;
    let store = &app.services()?.store;
    if query.after > head {
        // The position belongs to another log, such as one that was replaced by a backup.
        return Err(ApiError::beyond_head(Loc::Query("after"), query.after, head));
    }
    let after = match *from {
        Some(from) => store.last_before(from, query.after, head).await?,
        None => query.after,
    };
    let until = match *to {
        Some(to) => store.last_before(to, after, head).await?,
        None => head,
    };
    // Events committed meanwhile are left for the next page, so that none is skipped or repeated.
    let page = store.page(&EventQuery { after, until: Some(until), ..query.clone() }).await?;
    // Events between `until` and the head are at or after `to`.
    let next = if page.next < until { page.next } else { page.next.max(head) };
    let log = store.identity();
    let event = |event| CloudEvent::new(event, log, reader.disclosure);
    let events = page.events.iter().map(event).collect();
    let (id, epoch) = (log.id.hyphenated().to_string(), log.epoch);
    Ok(EventPage { events, next: next.get(), log: id, epoch, head: head.get() })
}

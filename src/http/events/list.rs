//! `GET /events`

use std::time::Duration;

use axum::Json;
use axum::extract::{FromRequestParts, State};
use axum::http::request::Parts;
use jiff::Timestamp;
use serde::Serialize;
use store::{EventQuery, Position};
use tokio::time::{Instant, sleep, timeout_at};
use utoipa::ToSchema;

use super::CloudEventBody;
use crate::app::App;
use crate::cloud_event::CloudEvent;
use crate::http::api_error::{ApiError, Loc};
use crate::http::extract::{EventReader, QueryParams};
use crate::http::openapi::{ErrorBody, ValidationErrorBody};
use crate::http::state::HttpState;

const DEFAULT_LIMIT: usize = 100;
const MAX_LIMIT: u64 = 1000;
/// In seconds.
const MAX_WAIT_SECONDS: u64 = 60;
/// While waiting with filters, events that come within so long are looked at together.
const COALESCING_DELAY: Duration = Duration::from_millis(50);

/// A page of the log.
#[derive(Serialize, ToSchema)]
#[schema(as = EventPage)]
pub(crate) struct EventPage {
    /// By ascending position.
    #[schema(value_type = Vec<CloudEventBody>)]
    events: Vec<CloudEvent>,
    /// The last position that was looked at, also when filters let nothing through: the next page's `after`. A page
    /// may be short, or empty, and yet not the last.
    next: u64,
    /// The head of the log when the page was read. At `next` = `head` there is no further page yet.
    head: u64,
}

/// Which events are asked for.
pub(crate) struct EventsQuery {
    query: EventQuery,
    /// Only events at or after this moment.
    from: Option<Timestamp>,
    /// Only events before this moment.
    to: Option<Timestamp>,
    /// How long to wait if there is nothing yet.
    wait: Duration,
}

impl EventsQuery {
    fn is_unfiltered(&self) -> bool {
        let EventQuery { types, stream, actor, .. } = &self.query;
        types.is_empty() && stream.is_none() && actor.is_none()
    }
}

impl<S: Sync> FromRequestParts<S> for EventsQuery {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, ApiError> {
        let mut params = QueryParams::of(&parts.uri);
        let query = EventQuery {
            after: params.position("after").unwrap_or_default(),
            until: None,
            limit: params.limit(MAX_LIMIT, DEFAULT_LIMIT),
            types: params.names("types"),
            stream: params.stream("stream"),
            actor: params.text("actor"),
        };
        let wait = Duration::from_secs(params.number("wait", 0..=MAX_WAIT_SECONDS).unwrap_or_default());
        let asked = Self { query, from: params.time("from"), to: params.time("to"), wait };
        params.finish(asked)
    }
}

/// Reads the event log.
#[utoipa::path(
    get,
    path = "/events",
    tag = "events",
    operation_id = "list_events",
    security(("OAuth2PasswordBearer" = [])),
    params(
        ("after" = Option<u64>, Query, description = "Only positions above this one; 0 by default"),
        ("limit" = Option<u64>, Query, description = "At most so many events: 1 to 1000, 100 by default"),
        ("types" = Option<String>, Query, description = "Only these types, between commas"),
        ("stream" = Option<String>, Query, description = "Only this stream, such as `user-0193…`"),
        ("actor" = Option<String>, Query, description = "Only what this actor caused"),
        ("from" = Option<String>, Query, description = "Only events at or after this moment, in RFC 3339"),
        ("to" = Option<String>, Query, description = "Only events before this moment, in RFC 3339"),
        ("wait" = Option<u64>, Query, description = "If there is nothing yet, wait up to so many seconds for it: at most 60"),
    ),
    responses(
        (status = 200, description = "A page", body = EventPage),
        (status = 401, description = "No token", body = ErrorBody),
        (status = 403, description = "A bad token, or no role to read events", body = ErrorBody),
        (status = 422, description = "Bad parameters", body = ValidationErrorBody),
        (status = 429, description = "`too_many_readers`: more than 100 at once", body = ErrorBody),
        (status = 503, description = "`unavailable`", body = ErrorBody),
    ),
)]
pub(crate) async fn list(
    State(state): State<HttpState>,
    reader: EventReader,
    asked: EventsQuery,
) -> Result<Json<EventPage>, ApiError> {
    if asked.wait.is_zero() {
        let head = state.app.services()?.store.head().await?.position;
        return page(&state.app, &reader, &asked, head).await.map(Json);
    }
    let _slot = state.reader_slots.acquire(&reader.stream).ok_or(ApiError::TooManyReaders)?;
    wait(&state, reader, asked).await.map(Json)
}

/// A page with events in it, or the one that is there once the time is over.
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
        // Later events have later times.
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
                // Whoever waits is to come back to another node, and not to be kept until the connection is cut.
                () = state.shutdown.cancelled() => None,
            };
            let Some(news) = news else { return Ok(found) };
            head = news;
        }
        // What is not let through is not looked at one by one.
        if !asked.is_unfiltered() {
            sleep(COALESCING_DELAY).await;
            head = head.max(store.progress().head);
        }
        // Nobody is told what happened after they had lost the right to know.
        (reader, _) = reader.reauthorize_at(app, head).await?;
    }
}

/// A page of the log as it was at that head.
async fn page(
    app: &App,
    reader: &EventReader,
    asked: &EventsQuery,
    head: Position,
) -> Result<EventPage, ApiError> {
    let EventsQuery { query, from, to, .. } = asked;
    let store = &app.services()?.store;
    if query.after > head {
        // Whoever has seen more than there is has followed another log: one that was put back since.
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
    // Nothing above the head is read, so that what comes in meanwhile is neither skipped nor counted twice.
    let page = store.page(&EventQuery { after, until: Some(until), ..query.clone() }).await?;
    // Whatever lies between there and the head is too new to be asked for.
    let next = if page.next < until { page.next } else { page.next.max(head) };
    let event = |event| CloudEvent::new(event, store.log_id(), reader.disclosure);
    let events = page.events.iter().map(event).collect();
    Ok(EventPage { events, next: next.get(), head: head.get() })
}

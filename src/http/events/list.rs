//! `GET /events`

use std::sync::Arc;

use axum::Json;
use axum::extract::{FromRequestParts, State};
use axum::http::request::Parts;
use jiff::Timestamp;
use serde::Serialize;
use store::EventQuery;
use utoipa::ToSchema;

use super::CloudEventBody;
use crate::app::App;
use crate::cloud_event::CloudEvent;
use crate::http::extract::{EventReader, Params};
use crate::http::openapi::{ErrorBody, ValidationErrorBody};
use crate::http::problem::Problem;

const DEFAULT_LIMIT: usize = 100;
const MAX_LIMIT: u64 = 1000;

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
pub(crate) struct Asked {
    query: EventQuery,
    /// Only events at or after this moment.
    from: Option<Timestamp>,
    /// Only events before this moment.
    to: Option<Timestamp>,
}

impl<S: Sync> FromRequestParts<S> for Asked {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Problem> {
        let mut params = Params::of(&parts.uri);
        let query = EventQuery {
            after: params.position("after").unwrap_or_default(),
            until: None,
            limit: params
                .number("limit", 1..=MAX_LIMIT)
                .and_then(|n| n.try_into().ok())
                .unwrap_or(DEFAULT_LIMIT),
            types: params.names("types"),
            stream: params.stream("stream"),
            actor: params.text("actor"),
        };
        let asked = Self { query, from: params.time("from"), to: params.time("to") };
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
    ),
    responses(
        (status = 200, description = "A page", body = EventPage),
        (status = 401, description = "No token", body = ErrorBody),
        (status = 403, description = "A bad token, or no role to read events", body = ErrorBody),
        (status = 422, description = "Bad parameters", body = ValidationErrorBody),
        (status = 503, description = "`unavailable`", body = ErrorBody),
    ),
)]
pub(crate) async fn list(
    State(app): State<Arc<App>>,
    reader: EventReader,
    Asked { query, from, to }: Asked,
) -> Result<Json<EventPage>, Problem> {
    let store = &app.node()?.store;
    let head = store.head().await?.position;
    let after = match from {
        Some(from) => store.last_before(from, query.after, head).await?,
        None => query.after,
    };
    let until = match to {
        Some(to) => store.last_before(to, after, head).await?,
        None => head,
    };
    // Nothing above the head is read, so that what comes in meanwhile is neither skipped nor counted twice.
    let page = store.page(&EventQuery { after, until: Some(until), ..query }).await?;
    // Whatever lies between there and the head is too new to be asked for.
    let next = if page.next < until { page.next } else { page.next.max(head) };
    let event = |event| CloudEvent::new(event, store.log_id(), reader.disclosure);
    let events = page.events.iter().map(event).collect();
    Ok(Json(EventPage { events, next: next.get(), head: head.get() }))
}

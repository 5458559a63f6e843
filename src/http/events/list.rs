//! `GET /events`

use std::sync::Arc;

use axum::Json;
use axum::extract::{FromRequestParts, State};
use axum::http::request::Parts;
use serde::Serialize;
use store::{EventQuery, Position};
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
    /// The last position that was looked at, also when filters let nothing through: the next page's `after`.
    next: u64,
    /// The head of the log when the page was read. At `next` = `head` there is no further page yet.
    head: u64,
}

/// Which events are asked for.
pub(crate) struct Asked(EventQuery);

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
            from: params.time("from"),
            to: params.time("to"),
        };
        params.finish(Self(query))
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
    Asked(query): Asked,
) -> Result<Json<EventPage>, Problem> {
    let store = &app.node()?.store;
    let head = store.head().await?.position;
    // Nothing above the head is read, so that what comes in meanwhile is neither skipped nor counted twice.
    let query = EventQuery { until: Some(head), ..query };
    let events = store.read(&query).await?;
    let last = events.last().map(|event| event.envelope.position);
    let next = next(&query, head, last, events.len());
    let events =
        events.iter().map(|event| CloudEvent::new(event, store.log_id(), reader.disclosure)).collect();
    Ok(Json(EventPage { events, next: next.get(), head: head.get() }))
}

/// The last position that was looked at: a full page stops at its last event, any other has looked at all there is.
fn next(query: &EventQuery, head: Position, last: Option<Position>, count: usize) -> Position {
    match last {
        Some(last) if count >= query.limit => last,
        _ => query.after.max(head),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_page_goes_on_where_it_stopped_looking() {
        let at = Position::new;
        let query = EventQuery { after: at(10), limit: 2, ..EventQuery::default() };
        assert_eq!(next(&query, at(50), Some(at(30)), 2), at(30));
        assert_eq!(next(&query, at(50), Some(at(30)), 1), at(50));
        assert_eq!(next(&query, at(50), None, 0), at(50));
        // A caller who is ahead of the log is not sent back.
        assert_eq!(next(&query, at(5), None, 0), at(10));
    }
}

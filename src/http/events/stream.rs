//! `GET /events/stream`

use axum::body::Body;
use axum::extract::{FromRequestParts, State};
use axum::http::header;
use axum::http::request::Parts;
use axum::response::IntoResponse;
use futures::stream::unfold;
use store::Position;

use super::subscriber::{StreamStart, StreamSubscriber};
use crate::http::api_error::{ApiError, Loc};
use crate::http::extract::{EventReader, QueryParams, position};
use crate::http::openapi::{ErrorBody, ValidationErrorBody};
use crate::http::state::HttpState;

/// Which events are asked for, and from where on.
pub(crate) struct StreamQuery {
    after: Option<Position>,
    /// Where that was after_loc.
    after_loc: Loc,
    types: Vec<String>,
}

impl<S: Sync> FromRequestParts<S> for StreamQuery {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, ApiError> {
        let mut params = QueryParams::of(&parts.uri);
        let after = params.position("after");
        let types = params.names("types");
        let last = parts.headers.get("last-event-id").map(|id| String::from_utf8_lossy(id.as_bytes()));
        // A browser that reconnects sends the header and repeats the address: the header is the newer of the two.
        let last = match last.filter(|id| !id.is_empty()) {
            Some(id) => Some(position(Loc::Header("last-event-id"), &id).map_err(ApiError::invalid)?),
            None => None,
        };
        let after_loc = if last.is_some() { Loc::Header("last-event-id") } else { Loc::Query("after") };
        params.finish(Self { after: last.or(after), after_loc, types })
    }
}

/// Follows the event log as server-sent events.
///
/// `id` is the position, `event` the type and `data` a `CloudEvent`. A comment `head N` tells at least every 15 s how far
/// the log is. An `id` alone is no event; it says from where on to go on after a break.
#[utoipa::path(
    get,
    path = "/events/stream",
    tag = "events",
    operation_id = "follow_events",
    security(("OAuth2PasswordBearer" = [])),
    params(
        ("after" = Option<u64>, Query, description = "Only positions above this one; from the head on by default"),
        ("types" = Option<String>, Query, description = "Only these types, between commas"),
        ("Last-Event-ID" = Option<u64>, Header, description = "The same as `after`, and beats it"),
    ),
    responses(
        (status = 200, description = "Events, without an end", body = String, content_type = "text/event-stream"),
        (status = 401, description = "No token", body = ErrorBody),
        (status = 403, description = "A bad token, or no role to read events", body = ErrorBody),
        (status = 422, description = "Bad parameters", body = ValidationErrorBody),
        (status = 429, description = "`too_many_readers`: more than 100 at once", body = ErrorBody),
        (status = 503, description = "`unavailable`", body = ErrorBody),
    ),
)]
pub(crate) async fn stream(
    State(state): State<HttpState>,
    reader: EventReader,
    StreamQuery { after, after_loc, types }: StreamQuery,
) -> Result<impl IntoResponse, ApiError> {
    let slot = state.reader_slots.acquire(&reader.stream).ok_or(ApiError::TooManyReaders)?;
    let store = &state.app.services()?.store;
    let after = match after {
        None => store.head().await?.position,
        Some(after) => {
            let head = store.head_at_least(after).await?.position;
            if after > head {
                // Whoever has seen more than there is has followed another log: one that was put back since.
                return Err(ApiError::beyond_head(after_loc, after, head));
            }
            after
        }
    };
    // The rows that let them in may have been old.
    let authorized_at = store.progress().head;
    let (reader, _) = reader.reauthorize_at(&state.app, authorized_at).await?;
    let subscriber =
        StreamSubscriber::new(&state, reader, slot, StreamStart { after, authorized_at, types })?;
    // The next piece is made when the last one has been sent: a slow client holds back only itself.
    let pieces = unfold(subscriber, async |mut subscriber| Some((subscriber.next().await?, subscriber)));
    let headers = [(header::CONTENT_TYPE.as_str(), "text/event-stream"), ("x-accel-buffering", "no")];
    Ok((headers, Body::from_stream(pieces)))
}

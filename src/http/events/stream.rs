//! `GET /events/stream`

use axum::body::Body;
use axum::extract::{FromRequestParts, State};
use axum::http::header;
use axum::http::request::Parts;
use axum::response::IntoResponse;
use futures::stream::unfold;
use store::Position;

use super::subscriber::{StreamStart, StreamSubscriber};
use crate::http::api_error::{ApiError, ErrorBody, Loc, ValidationErrorBody};
use crate::http::extract::{EventReader, QueryParams, position};
use crate::http::state::HttpState;

pub(crate) struct StreamQuery {
    after: Option<Position>,
    /// Which parameter or header set `after`.
    after_loc: Loc,
    types: Vec<String>,
}

impl<S: Sync> FromRequestParts<S> for StreamQuery {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, ApiError> {
        let mut params = QueryParams::of(&parts.uri);
        let after = params.position("after");
        let types = params.event_types("types");
        let last = parts.headers.get("last-event-id").map(|id| String::from_utf8_lossy(id.as_bytes()));
        // A browser that reconnects repeats the URL and adds the header, so the header is the newer one.
        let last = match last.filter(|id| !id.is_empty()) {
            Some(id) => Some(position(Loc::Header("last-event-id"), &id).map_err(ApiError::invalid)?),
            None => None,
        };
        let after_loc = if last.is_some() { Loc::Header("last-event-id") } else { Loc::Query("after") };
        params.finish(Self { after: last.or(after), after_loc, types })
    }
}

/// Subscribes to the event log as server-sent events.
///
/// `id` is the position, `event` the type and `data` a `CloudEvent`. A comment `head N` reports the head of
/// the log at least every 15 s. An `id` without data is not an event: it is the position from which to
/// resume.
#[utoipa::path(
    get,
    path = "/events/stream",
    tag = "events",
    operation_id = "follow_events",
    security(("OAuth2PasswordBearer" = [])),
    params(
        ("after" = Option<u64>, Query, description = "Only positions above this one; the head by default"),
        ("types" = Option<String>, Query, description = "Only these types, comma-separated"),
        ("Last-Event-ID" = Option<u64>, Header, description = "As `after`, and takes precedence over it"),
    ),
    responses(
        (status = 200, description = "An unlimited stream of events",
            body = String, content_type = "text/event-stream"),
        EventReader,
        (status = 422, description = "Invalid parameters", body = ValidationErrorBody),
        (status = 429, description = "`too_many_readers`: more than 100 streams and long polls",
            body = ErrorBody),
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
                // The position belongs to another log, such as one that was replaced by a backup.
                return Err(ApiError::beyond_head(after_loc, after, head));
            }
            after
        }
    };
    // The extractor may have read a lagging read model.
    let authorized_at = store.progress().head;
    let (reader, _) = reader.reauthorize_at(&state.app, authorized_at).await?;
    let subscriber =
        StreamSubscriber::new(&state, reader, slot, StreamStart { after, authorized_at, types })?;
    // A chunk is produced only when the previous one has been sent, so a slow client delays only itself.
    let chunks = unfold(subscriber, async |mut subscriber| Some((subscriber.next().await?, subscriber)));
    let headers = [(header::CONTENT_TYPE.as_str(), "text/event-stream"), ("x-accel-buffering", "no")];
    Ok((headers, Body::from_stream(chunks)))
}

//! `/events`: the event log, as pages with optional long polling (`list`) and as a stream of server-sent
//! events. Each open stream is a `subscriber`.

mod list;
mod subscriber;

use axum::body::Body;
use axum::extract::State;
use axum::http::{HeaderMap, header};
use axum::response::IntoResponse;
use futures::stream::unfold;
use utoipa_axum::routes;

use self::subscriber::{StreamStart, StreamSubscriber};
use crate::http::api_error::{ApiError, Loc};
use crate::http::extract::{EventReader, EventTypes, QueryParams, position};
use crate::http::openapi::builders::integer;
use crate::http::openapi::parameters::{document_extractors, header_parameter};
use crate::http::state::{HttpState, Routes};

pub(super) fn routes() -> Routes {
    vec![routes!(list::list_events), routes!(follow_events)]
}

/// Documents the header `Last-Event-ID`.
pub(crate) struct LastEventId;

document_extractors! {
    LastEventId:
        [header_parameter("Last-Event-ID", integer("As `after`, and takes precedence over it"))];
}

/// Subscribes to the event log as server-sent events.
///
/// `id` is the position, `event` the type and `data` a `CloudEvent`. A comment `head N` reports the head of
/// the log at least every 15 s. An `id` without data is not an event: it is the position from which to
/// resume.
#[utoipa::path(
    get, path = "/events/stream",
    params(
        ("after" = Option<u64>, Query, description = "Only positions above this one; the head by default"),
        EventTypes,
        LastEventId,
    ),
    responses(
        (status = 200, description = "An unlimited stream of events",
            body = String, content_type = "text/event-stream"),
        EventReader,
        (status = 422, description = "Invalid parameters"),
        (status = 429, description = "`too_many_readers`: more than 100 streams and long polls"),
        (status = 503, description = "`unavailable`"),
    ),
)]
pub(crate) async fn follow_events(
    State(state): State<HttpState>,
    mut reader: EventReader,
    headers: HeaderMap,
    mut params: QueryParams,
) -> Result<impl IntoResponse, ApiError> {
    let (mut after, mut after_loc) = (params.position("after"), Loc::Query("after"));
    let types = params.event_types("types");
    let last = headers.get("last-event-id").map(|id| String::from_utf8_lossy(id.as_bytes()));
    // A browser that reconnects repeats the URL and adds the header, so the header is the newer one.
    if let Some(id) = last.filter(|id| !id.is_empty()) {
        after_loc = Loc::Header("last-event-id");
        after = Some(position(after_loc, &id).map_err(ApiError::invalid)?);
    }
    params.finish(())?;
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
    reader.reauthorize_at(&state.app, authorized_at).await?;
    let subscriber =
        StreamSubscriber::new(&state, reader, slot, StreamStart { after, authorized_at, types })?;
    // A chunk is produced only when the previous one has been sent, so a slow client delays only itself.
    let chunks = unfold(subscriber, async |mut subscriber| Some((subscriber.next().await?, subscriber)));
    let headers = [(header::CONTENT_TYPE.as_str(), "text/event-stream"), ("x-accel-buffering", "no")];
    Ok((headers, Body::from_stream(chunks)))
}

//! `GET /log/tile/…`

use std::sync::Arc;

use axum::extract::{FromRequestParts, State};
use axum::http::request::Parts;
use axum::http::{HeaderName, HeaderValue, header};
use axum::response::{IntoResponse, Response};
use store::canonical::canonical_event;
use store::tiles::{WIDTH, to_bytes};
use store::{EventQuery, Position};

use super::tile_path::TilePath;
use crate::app::{App, Services};
use crate::http::api_error::ApiError;
use crate::http::extract::{Auditor, param};
use crate::http::openapi::ErrorBody;

/// What is in a tile stays as it is. It is for those who may see it, and no shared cache.
const IMMUTABLE: (HeaderName, HeaderValue) =
    (header::CACHE_CONTROL, HeaderValue::from_static("private, max-age=31536000, immutable"));
const BYTES: (HeaderName, HeaderValue) =
    (header::CONTENT_TYPE, HeaderValue::from_static("application/octet-stream"));

/// `{path}`.
pub(crate) struct TileParam(TilePath);

impl<S: Send + Sync> FromRequestParts<S> for TileParam {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, ApiError> {
        let path = param(parts, state, "path").await.unwrap_or_default();
        TilePath::parse(path.trim_end_matches('/')).map(Self).ok_or(ApiError::NotFound)
    }
}

/// Shows a tile of the log: hashes, or (`entries/…`) the events themselves, each as RFC 8785 JSON after its length in two
/// bytes.
#[utoipa::path(
    get,
    path = "/log/tile/{path}",
    tag = "log",
    operation_id = "log_tile",
    security(("OAuth2PasswordBearer" = [])),
    params(("path" = String, Path, description = "`<L>/<N>[.p/<W>]` or `entries/<N>[.p/<W>]` (c2sp.org/tlog-tiles)")),
    responses(
        (status = 200, description = "Hashes of 32 bytes one after another, or entries", body = Vec<u8>, content_type = "application/octet-stream"),
        (status = 401, description = "No token", body = ErrorBody),
        (status = 403, description = "A bad token, or neither administrator nor auditor", body = ErrorBody),
        (status = 404, description = "No such tile, or not yet", body = ErrorBody),
    ),
)]
pub(crate) async fn tile(
    State(app): State<Arc<App>>,
    _: Auditor,
    TileParam(asked): TileParam,
) -> Result<Response, ApiError> {
    let services = app.services()?;
    let head = services.store.head().await?.position;
    if asked.tile.width_in(head.get()) < asked.width {
        return Err(ApiError::NotFound);
    }
    let bytes = if asked.entries {
        entries(services, &asked).await?
    } else {
        let mut hashes = services.proofs.tile(asked.tile, head).await?;
        hashes.truncate(usize::try_from(asked.width).unwrap_or(usize::MAX));
        to_bytes(&hashes)
    };
    Ok(([BYTES, IMMUTABLE], bytes).into_response())
}

async fn entries(services: &Services, asked: &TilePath) -> Result<Vec<u8>, ApiError> {
    let after = asked.tile.index * WIDTH;
    let query = EventQuery {
        after: Position::new(after),
        until: Some(Position::new(after + asked.width)),
        limit: usize::try_from(asked.width).unwrap_or(usize::MAX),
        ..EventQuery::default()
    };
    let mut bytes = Vec::new();
    for event in services.store.read_sealed(&query).await? {
        let event = canonical_event(&event).map_err(|error| ApiError::internal(&error))?;
        // Every event has at most 32 KiB.
        let length = u16::try_from(event.len()).map_err(|error| ApiError::internal(&error))?;
        bytes.extend_from_slice(&length.to_be_bytes());
        bytes.extend_from_slice(&event);
    }
    Ok(bytes)
}

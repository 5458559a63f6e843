//! `GET /log/tile/…` (c2sp.org/tlog-tiles)

use std::sync::Arc;

use axum::extract::{FromRequestParts, State};
use axum::http::request::Parts;
use axum::http::{HeaderName, HeaderValue, header};
use axum::response::{IntoResponse, Response};
use store::canonical::canonical_event;
use store::tiles::{TileId, WIDTH, to_bytes};
use store::{EventQuery, Position};

use crate::app::{App, Services};
use crate::http::api_error::ApiError;
use crate::http::extract::{Auditor, param};

/// Tiles never change. Shared caches must not store them, because access needs a role.
const IMMUTABLE: (HeaderName, HeaderValue) =
    (header::CACHE_CONTROL, HeaderValue::from_static("private, max-age=31536000, immutable"));
const BYTES: (HeaderName, HeaderValue) =
    (header::CONTENT_TYPE, HeaderValue::from_static("application/octet-stream"));

impl<S: Send + Sync> FromRequestParts<S> for TilePath {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, ApiError> {
        let path = param(parts, state, "path").await.unwrap_or_default();
        TilePath::parse(path.trim_end_matches('/')).ok_or(ApiError::NotFound)
    }
}

/// Serves a tile of the log: hashes or, below `entries/`, events, each as RFC 8785 JSON prefixed with its
/// length in two bytes.
#[utoipa::path(
    get, path = "/log/tile/{*path}",
    params(("path" = String, Path,
        pattern = r"^([0-7]|entries)/(x[0-9]{3}/)*[0-9]{3}(\.p/([1-9][0-9]?|1[0-9]{2}|2[0-4][0-9]|25[0-5]))?$",
        description = "`<L>/<N>[.p/<W>]` or `entries/<N>[.p/<W>]` (c2sp.org/tlog-tiles)")),
    responses(
        (status = 200, description = "Concatenated hashes of 32 bytes, or entries", body = Vec<u8>,
            content_type = "application/octet-stream"),
        Auditor,
        (status = 404, description = "The tile does not exist (yet)"),
    ),
)]
pub(crate) async fn log_tile(
    State(app): State<Arc<App>>,
    _: Auditor,
    asked: TilePath,
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
        // Events are limited to 32 KiB when they are appended.
        let length = u16::try_from(event.len()).map_err(|error| ApiError::internal(&error))?;
        bytes.extend_from_slice(&length.to_be_bytes());
        bytes.extend_from_slice(&event);
    }
    Ok(bytes)
}

/// The path of a tile: `<L>/<N>[.p/<W>]` or `entries/<N>[.p/<W>]`, with N in groups of three digits of which
/// all but the last begin with `x`: tile 1234067 is `x001/x234/067`.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct TilePath {
    /// For entries, the tile of their leaves.
    tile: TileId,
    entries: bool,
    /// The number of hashes or entries.
    width: u64,
}

impl TilePath {
    /// Accepts the canonical form only.
    fn parse(path: &str) -> Option<Self> {
        let (kind, rest) = path.split_once('/')?;
        let (index, width) = match rest.split_once(".p/") {
            Some((index, width)) => (index, canonical(width).filter(|width| (1..WIDTH).contains(width))?),
            None => (rest, WIDTH),
        };
        let entries = kind == "entries";
        let level =
            if entries { 0 } else { u32::try_from(canonical(kind)?).ok().filter(|level| *level < 8)? };
        Some(Self { tile: TileId { level, index: index_of(index)? }, entries, width })
    }
}

/// Parses a number without leading zeros.
fn canonical(text: &str) -> Option<u64> {
    let number: u64 = text.parse().ok()?;
    (number.to_string() == text).then_some(number)
}

fn index_of(path: &str) -> Option<u64> {
    let groups: Vec<_> = path.split('/').collect();
    let (last, before) = groups.split_last()?;
    // Leading zeros only pad a single group.
    if before.first().is_some_and(|first| *first == "x000") {
        return None;
    }
    let before = before.iter().map(|group| group.strip_prefix('x'));
    let mut index = 0_u64;
    for digits in before.chain([Some(*last)]) {
        let digits =
            digits.filter(|digits| digits.len() == 3 && digits.bytes().all(|byte| byte.is_ascii_digit()))?;
        index = index.checked_mul(1000)?.checked_add(digits.parse().ok()?)?;
    }
    // The leaves of a larger index would exceed the largest position.
    (index < 1 << 45).then_some(index)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_standard_tile_paths_parse() {
        let tile = |level, index| TileId { level, index };
        for (path, expected) in [
            ("0/000", TilePath { tile: tile(0, 0), entries: false, width: 256 }),
            ("1/x001/x234/067", TilePath { tile: tile(1, 1_234_067), entries: false, width: 256 }),
            ("2/017.p/5", TilePath { tile: tile(2, 17), entries: false, width: 5 }),
            ("entries/x001/000.p/255", TilePath { tile: tile(0, 1000), entries: true, width: 255 }),
        ] {
            assert_eq!(TilePath::parse(path), Some(expected), "{path}");
        }
        for nonsense in [
            "",
            "0",
            "0/",
            "0/0",
            "0/0000",
            "00/000",
            "8/000",
            "-1/000",
            "0/x000/001",
            "0/001/002",
            "0/x01/002",
            "0/000.p/0",
            "0/000.p/256",
            "0/000.p/01",
            "0/000.p/",
            "entries/",
            "data/000",
            "0/+01",
            "0/x001",
            "0/x999/x999/x999/x999/x999/x999/999",
        ] {
            assert_eq!(TilePath::parse(nonsense), None, "{nonsense}");
        }
    }
}

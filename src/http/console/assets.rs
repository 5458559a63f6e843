//! `GET /console/assets/{build}/…`: the files of the console.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

use aws_lc_rs::digest::{SHA256, digest};
use axum::Extension;
use axum::body::Bytes;
use axum::extract::Path;
use axum::http::{HeaderMap, HeaderValue, header};
use axum::response::IntoResponse;

use super::files::{self, File};
use super::page::INDEX;
use crate::http::api_error::ApiError;
use crate::http::connections::memory::SharedAnswer;

/// The address contains the build, so its content never changes.
const IMMUTABLE: &str = "public, max-age=31536000, immutable";
/// A page of another build asks, during an update of several nodes.
const REVALIDATED: &str = "no-cache";

/// Decompressed files, for the few clients that do not accept gzip.
#[derive(Clone, Default)]
pub(super) struct Assets(Arc<Mutex<BTreeMap<&'static str, Bytes>>>);

impl Assets {
    fn decompressed(&self, file: File) -> Result<Bytes, ApiError> {
        let mut known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(content) = known.get(file.name) {
            return Ok(content.clone());
        }
        let content = file.content().map_err(|error| ApiError::internal(&error))?;
        known.insert(file.name, content.clone());
        Ok(content)
    }
}

pub(super) async fn asset(
    Path((build, name)): Path<(String, String)>,
    Extension(assets): Extension<Assets>,
    headers: HeaderMap,
) -> Result<impl IntoResponse, ApiError> {
    let file = File::find(&name).filter(|file| file.name != INDEX).ok_or(ApiError::NotFound)?;
    let is_gzip = accepts_gzip(&headers);
    let content = if is_gzip { Bytes::from_static(file.gzip) } else { assets.decompressed(file)? };
    let cache = if build == files::build() { IMMUTABLE } else { REVALIDATED };
    let tag = hex::encode(digest(&SHA256, &content).as_ref().get(..16).unwrap_or_default());
    let mut answer = HeaderMap::new();
    answer.insert(header::CONTENT_TYPE, HeaderValue::from_static(file.content_type()));
    answer.insert(header::CACHE_CONTROL, HeaderValue::from_static(cache));
    answer.insert(header::VARY, HeaderValue::from_static("accept-encoding"));
    if let Ok(tag) = HeaderValue::from_str(&format!("\"{tag}\"")) {
        answer.insert(header::ETAG, tag);
    }
    if is_gzip {
        answer.insert(header::CONTENT_ENCODING, HeaderValue::from_static("gzip"));
    }
    Ok((answer, Extension(SharedAnswer), content))
}

/// Whether the client accepts gzip (RFC 9110 §12.5.3).
fn accepts_gzip(headers: &HeaderMap) -> bool {
    let given = headers.get_all(header::ACCEPT_ENCODING).iter();
    let codings = given.filter_map(|line| line.to_str().ok()).flat_map(|line| line.split(','));
    codings.map(str::trim).any(|coding| {
        let (name, weight) = coding.split_once(';').unwrap_or((coding, ""));
        let is_refused = weight.trim().strip_prefix("q=").is_some_and(|weight| weight.parse() == Ok(0.0));
        matches!(name.trim(), "gzip" | "x-gzip" | "*") && !is_refused
    })
}

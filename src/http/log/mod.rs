//! `/log`: the event log as a transparency log (c2sp.org/tlog-tiles), so that auditors can prove by themselves that nobody
//! has edited it. The signed head, the key that it is checked with, tiles and entries, and proofs ready made.

pub(crate) mod checkpoint;
pub(crate) mod consistency;
pub(crate) mod key;
pub(crate) mod proof;
pub(crate) mod tile;
mod tile_path;

use axum::http::{HeaderName, HeaderValue, header};
use base64::prelude::{BASE64_STANDARD, Engine};
use store::merkle::Hash;

/// Texts that other programs read line by line.
const TEXT: (HeaderName, HeaderValue) =
    (header::CONTENT_TYPE, HeaderValue::from_static("text/plain; charset=utf-8"));

/// A hash as notes have it.
fn encode(hash: &Hash) -> String {
    BASE64_STANDARD.encode(hash)
}

//! `GET /.well-known/jwks.json`

use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use axum::http::{HeaderName, header};
use serde::Serialize;
use utoipa::ToSchema;

use super::api_error::ApiError;
use super::conditional::{IfNoneMatch, content_tag};
use super::extract::DocumentedQuery;
use crate::app::App;
use crate::crypto::PublicKey;

/// Outside the prefix of the other endpoints (RFC 8615).
pub(super) const PATH: &str = "/.well-known/jwks.json";
/// For how long clients may cache the keys: half of the time for which a new key is published before it signs.
const CACHE_CONTROL: &str = "public, max-age=300";

/// The public keys by which access tokens are verified (RFC 7517).
#[derive(Serialize, ToSchema)]
#[schema(as = KeySet)]
pub(crate) struct KeySetView {
    /// Empty if tokens are signed with a shared secret.
    keys: Vec<PublicKeyView>,
}

/// A public key (RFC 7517).
#[derive(Serialize, ToSchema)]
#[schema(as = PublicKey)]
struct PublicKeyView {
    /// `OKP` or `EC`.
    kty: &'static str,
    /// `Ed25519` or `P-256`.
    crv: &'static str,
    /// The public key, or the first coordinate of it, in base64url.
    x: String,
    /// The second coordinate, of keys of P-256.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    y: Option<String>,
    /// The only algorithm that the key verifies: `EdDSA` or `ES256`.
    alg: String,
    /// Always `sig`.
    #[serde(rename = "use")]
    purpose: &'static str,
    /// The thumbprint of the key (RFC 7638), which tokens name.
    kid: String,
}

impl From<PublicKey> for PublicKeyView {
    fn from(key: PublicKey) -> Self {
        let (kty, crv) = key.kind();
        Self { kty, crv, x: key.x, y: key.y, alg: key.algorithm.to_string(), purpose: "sig", kid: key.id }
    }
}

/// The public keys by which other services verify access tokens. A key is published before it signs and until its
/// tokens have expired.
#[utoipa::path(
    get, path = "/.well-known/jwks.json",
    params(IfNoneMatch),
    responses(
        (status = 200, description = "The keys, to be cached for 5 minutes", body = KeySetView,
            headers(
                ("ETag" = String, description = "Changes with the keys"),
                ("Cache-Control" = String, description = "`public, max-age=300`"),
            )),
        IfNoneMatch,
        DocumentedQuery,
    ),
)]
pub(crate) async fn jwks(
    State(app): State<Arc<App>>,
    _: DocumentedQuery,
) -> Result<([(HeaderName, String); 2], Json<KeySetView>), ApiError> {
    // The keys are loaded when the database is opened.
    if app.tokens.uses_keys() {
        app.services()?;
    }
    let keys = KeySetView { keys: app.tokens.published_keys().into_iter().map(Into::into).collect() };
    let headers = [content_tag(&keys), (header::CACHE_CONTROL, CACHE_CONTROL.to_owned())];
    Ok((headers, Json(keys)))
}

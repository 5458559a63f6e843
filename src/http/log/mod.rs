//! `/log`: the event log as a transparency log (c2sp.org/tlog-tiles), with which auditors can prove that it
//! was not edited: the signed checkpoint and its key, tiles and entries, and inclusion and consistency
//! proofs.

mod tile;

use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use axum::http::{HeaderName, HeaderValue, header};
use axum::response::IntoResponse;
use base64::prelude::{BASE64_STANDARD, Engine};
use serde::Serialize;
use store::EventQuery;
use store::canonical::canonical_event;
use store::merkle::Hash;
use store::tiles::ProofError;
use utoipa::ToSchema;
use utoipa_axum::routes;

use crate::app::App;
use crate::http::api_error::{ApiError, Loc};
use crate::http::extract::{Auditor, PositionPath, QueryParams};
use crate::http::state::Routes;

pub(super) fn routes() -> Routes {
    vec![
        routes!(log_checkpoint),
        routes!(log_key),
        routes!(tile::log_tile),
        routes!(log_proof),
        routes!(log_consistency),
    ]
}

const PLAIN_TEXT: (HeaderName, HeaderValue) =
    (header::CONTENT_TYPE, HeaderValue::from_static("text/plain; charset=utf-8"));

/// Shows the signed checkpoint of the log. Store one elsewhere, and the log can be neither truncated nor
/// rewritten without detection.
#[utoipa::path(
    get, path = "/log/checkpoint",
    responses(
        (status = 200, description = "A checkpoint in a signed note (c2sp.org/tlog-checkpoint)",
            body = String,
            content_type = "text/plain"),
        Auditor,
    ),
)]
pub(crate) async fn log_checkpoint(
    State(app): State<Arc<App>>,
    _: Auditor,
) -> Result<impl IntoResponse, ApiError> {
    Ok(([PLAIN_TEXT], app.services()?.store.signed_checkpoint().await?))
}

/// Shows the public key that verifies checkpoints. Fetch it once over a trusted channel, and store it.
#[utoipa::path(
    get, path = "/log/key",
    responses(
        (status = 200, description = "A verifier key (c2sp.org/signed-note)",
            body = String, content_type = "text/plain"),
        Auditor,
    ),
)]
pub(crate) async fn log_key(State(app): State<Arc<App>>, _: Auditor) -> Result<impl IntoResponse, ApiError> {
    Ok(([PLAIN_TEXT], format!("{}\n", app.services()?.store.signer().verifier_key())))
}

/// Proof that an event is part of the log.
#[derive(Serialize, ToSchema)]
#[schema(as = InclusionProof)]
pub(crate) struct ProofBody {
    /// The event's position; its index in the tree is one less.
    position: u64,
    /// The event in its hashed form: RFC 8785 JSON, with encrypted personal values.
    event: String,
    /// `SHA-256(0x00 ‖ event)`, in base64.
    leaf: String,
    /// The size of the tree, in events.
    size: u64,
    /// The root of the tree, in base64.
    root: String,
    /// The audit path from the leaf to the root (RFC 6962 §2.1.1), in base64.
    proof: Vec<String>,
    /// The signed checkpoint with that size and root.
    checkpoint: String,
}

/// Proves that an event is part of the current log.
#[utoipa::path(
    get, path = "/log/proof/{position}",
    params(PositionPath),
    responses(
        (status = 200, description = "The proof", body = ProofBody),
        Auditor,
        (status = 404, description = "No such event"),
        PositionPath,
    ),
)]
pub(crate) async fn log_proof(
    State(app): State<Arc<App>>,
    _: Auditor,
    PositionPath(position): PositionPath,
) -> Result<Json<ProofBody>, ApiError> {
    let services = app.services()?;
    let found = services.proofs.inclusion(position).await.map_err(|error| match error {
        ProofError::BeyondHead { .. } => ApiError::EventNotFound,
        ProofError::Store(error) => error.into(),
    })?;
    let event =
        services.store.read_sealed(&EventQuery::at(position)).await?.pop().ok_or(ApiError::EventNotFound)?;
    let event = canonical_event(&event).map_err(|error| ApiError::internal(&error))?;
    Ok(Json(ProofBody {
        position: position.get(),
        event: String::from_utf8(event).map_err(|error| ApiError::internal(&error))?,
        leaf: base64(&found.leaf),
        size: found.head.position.get(),
        root: base64(&found.head.root),
        proof: found.proof.iter().map(base64).collect(),
        checkpoint: found.head.note,
    }))
}

/// A hash in the encoding of signed notes.
pub(super) fn base64(hash: &Hash) -> String {
    BASE64_STANDARD.encode(hash)
}

/// Proof that one state of the log is a prefix of a later one.
#[derive(Serialize, ToSchema)]
#[schema(as = ConsistencyProof)]
pub(crate) struct ConsistencyBody {
    /// The earlier size of the log, in events.
    from: u64,
    /// The later size.
    to: u64,
    /// The root at the earlier size, in base64: compare it with the one in your checkpoint.
    from_root: String,
    /// The root at the later size, in base64.
    to_root: String,
    /// The proof (RFC 6962 §2.1.2), in base64.
    proof: Vec<String>,
}

/// Proves that the log only grew between two sizes: no event was changed or removed.
#[utoipa::path(
    get, path = "/log/consistency",
    params(
        ("from" = Option<u64>, Query,
            description = "The earlier size: the second line of a checkpoint; 0 by default"),
        ("to" = Option<u64>, Query, description = "The later size; the current one by default"),
    ),
    responses(
        (status = 200, description = "The proof", body = ConsistencyBody),
        Auditor,
        (status = 422, description = "A size beyond the head, or `to` below `from`"),
    ),
)]
pub(crate) async fn log_consistency(
    State(app): State<Arc<App>>,
    _: Auditor,
    mut params: QueryParams,
) -> Result<Json<ConsistencyBody>, ApiError> {
    let sizes = (params.position("from").unwrap_or_default(), params.position("to"));
    let (from, to) = params.finish(sizes)?;
    let services = app.services()?;
    let to = match to {
        Some(to) => to,
        None => services.store.head().await?.position,
    };
    let found = services.proofs.consistency(from, to).await.map_err(|error| match error {
        ProofError::BeyondHead { asked, head } => {
            let name = if asked == to { "to" } else { "from" };
            ApiError::beyond_head(Loc::Query(name), asked, head)
        }
        ProofError::Store(error) => error.into(),
    })?;
    Ok(Json(ConsistencyBody {
        from: from.get(),
        to: to.get(),
        from_root: base64(&found.from),
        to_root: base64(&found.to),
        proof: found.proof.iter().map(base64).collect(),
    }))
}

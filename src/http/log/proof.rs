//! `GET /log/proof/{position}`

use std::sync::Arc;

use axum::Json;
use axum::extract::{FromRequestParts, State};
use axum::http::request::Parts;
use base64::prelude::{BASE64_STANDARD, Engine};
use serde::Serialize;
use store::canonical::canonical_event;
use store::merkle::Hash;
use store::tiles::ProofError;
use store::{EventQuery, Position};
use utoipa::ToSchema;

use crate::app::App;
use crate::http::api_error::{ApiError, Loc};
use crate::http::extract::{Auditor, param, position};

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

pub(crate) struct PositionPath(Position);

impl<S: Send + Sync> FromRequestParts<S> for PositionPath {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, ApiError> {
        let text = param(parts, state, "position").await.unwrap_or_default();
        position(Loc::Path("position"), &text).map(Self).map_err(ApiError::invalid)
    }
}

/// Proves that an event is part of the current log.
#[utoipa::path(
    get, path = "/log/proof/{position}",
    params(("position" = u64, Path, description = "The event's position")),
    responses(
        (status = 200, description = "The proof", body = ProofBody),
        Auditor,
        (status = 404, description = "No such event"),
        (status = 422, description = "Not a position"),
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

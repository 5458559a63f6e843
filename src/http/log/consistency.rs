//! `GET /log/consistency`

use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use serde::Serialize;
use store::tiles::ProofError;
use utoipa::ToSchema;

use super::proof::base64;
use crate::app::App;
use crate::http::api_error::{ApiError, Loc};
use crate::http::extract::{Auditor, QueryParams};

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

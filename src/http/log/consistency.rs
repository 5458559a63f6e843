//! `GET /log/consistency`

use std::sync::Arc;

use axum::Json;
use axum::extract::{FromRequestParts, State};
use axum::http::request::Parts;
use serde::Serialize;
use store::Position;
use store::tiles::ProofError;
use utoipa::ToSchema;

use super::encode;
use crate::app::App;
use crate::http::api_error::{ApiError, Loc};
use crate::http::extract::{Auditor, QueryParams};
use crate::http::openapi::{ErrorBody, ValidationErrorBody};

/// That a longer log begins with a shorter one.
#[derive(Serialize, ToSchema)]
#[schema(as = ConsistencyProof)]
pub(crate) struct ConsistencyBody {
    /// How many events the shorter log has.
    from: u64,
    /// How many the longer one has.
    to: u64,
    /// The root of the shorter one, in base64: to be compared with the one in your checkpoint.
    from_root: String,
    /// The root of the longer one, in base64.
    to_root: String,
    /// The proof (RFC 6962 §2.1.2), in base64.
    proof: Vec<String>,
}

/// Which two states of the log.
pub(crate) struct ConsistencyQuery {
    from: Position,
    to: Option<Position>,
}

impl<S: Sync> FromRequestParts<S> for ConsistencyQuery {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, ApiError> {
        let mut params = QueryParams::of(&parts.uri);
        let between = Self { from: params.position("from").unwrap_or_default(), to: params.position("to") };
        params.finish(between)
    }
}

/// Proves that the log as it was at one size begins with what it was at an earlier one: that nothing was changed or cut.
#[utoipa::path(
    get,
    path = "/log/consistency",
    tag = "log",
    operation_id = "log_consistency",
    security(("OAuth2PasswordBearer" = [])),
    params(
        ("from" = Option<u64>, Query, description = "The earlier size: the second line of a checkpoint; 0 by default"),
        ("to" = Option<u64>, Query, description = "The later size; that of the log now by default"),
    ),
    responses(
        (status = 200, description = "The proof", body = ConsistencyBody),
        (status = 401, description = "No token", body = ErrorBody),
        (status = 403, description = "A bad token, or neither administrator nor auditor", body = ErrorBody),
        (status = 422, description = "Sizes that the log has not reached, or the later is the smaller", body = ValidationErrorBody),
    ),
)]
pub(crate) async fn consistency(
    State(app): State<Arc<App>>,
    _: Auditor,
    ConsistencyQuery { from, to }: ConsistencyQuery,
) -> Result<Json<ConsistencyBody>, ApiError> {
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
        from_root: encode(&found.from),
        to_root: encode(&found.to),
        proof: found.proof.iter().map(encode).collect(),
    }))
}

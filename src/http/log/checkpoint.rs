//! `GET /log/checkpoint` and `GET /log/key`

use std::sync::Arc;

use axum::extract::State;
use axum::http::{HeaderName, HeaderValue, header};
use axum::response::IntoResponse;

use crate::app::App;
use crate::http::api_error::ApiError;
use crate::http::extract::Auditor;

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

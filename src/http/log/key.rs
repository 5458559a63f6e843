//! `GET /log/key`

use std::sync::Arc;

use axum::extract::State;
use axum::response::IntoResponse;

use super::TEXT;
use crate::app::App;
use crate::http::api_error::ApiError;
use crate::http::extract::Auditor;
use crate::http::openapi::ErrorBody;

/// Shows the key that checkpoints are checked with. Get it once, over a way that you trust, and keep it.
#[utoipa::path(
    get,
    path = "/log/key",
    tag = "log",
    operation_id = "log_key",
    security(("OAuth2PasswordBearer" = [])),
    responses(
        (status = 200, description = "A verifier key (c2sp.org/signed-note)", body = String, content_type = "text/plain"),
        (status = 401, description = "No token", body = ErrorBody),
        (status = 403, description = "A bad token, or neither administrator nor auditor", body = ErrorBody),
    ),
)]
pub(crate) async fn key(State(app): State<Arc<App>>, _: Auditor) -> Result<impl IntoResponse, ApiError> {
    Ok(([TEXT], format!("{}\n", app.services()?.store.signer().verifier_key())))
}

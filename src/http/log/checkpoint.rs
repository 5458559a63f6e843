//! `GET /log/checkpoint`

use std::sync::Arc;

use axum::extract::State;
use axum::response::IntoResponse;

use super::TEXT;
use crate::app::App;
use crate::http::api_error::ApiError;
use crate::http::extract::Auditor;
use crate::http::openapi::ErrorBody;

/// Shows the signed head of the log: keep one outside, and nobody can cut the log back or rewrite it unseen.
#[utoipa::path(
    get,
    path = "/log/checkpoint",
    tag = "log",
    operation_id = "log_checkpoint",
    security(("OAuth2PasswordBearer" = [])),
    responses(
        (status = 200, description = "A checkpoint in a signed note (c2sp.org/tlog-checkpoint)", body = String, content_type = "text/plain"),
        (status = 401, description = "No token", body = ErrorBody),
        (status = 403, description = "A bad token, or neither administrator nor auditor", body = ErrorBody),
    ),
)]
pub(crate) async fn checkpoint(
    State(app): State<Arc<App>>,
    _: Auditor,
) -> Result<impl IntoResponse, ApiError> {
    Ok(([TEXT], app.services()?.store.signed_checkpoint().await?))
}

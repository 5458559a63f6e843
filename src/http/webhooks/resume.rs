//! `POST /webhooks/{id}/resume`

use axum::Json;
use axum::extract::State;
use axum::response::IntoResponse;
use domain::WebhookCommand;

use super::{ManagedWebhook, view_after_write};
use crate::http::api_error::ApiError;
use crate::http::extract::{Idempotent, NoBody, RequestId};
use crate::http::headers::PositionHeader;
use crate::http::openapi::ErrorBody;
use crate::http::state::HttpState;

/// Delivers again at once, where it had stopped: a webhook that is suspended, or one that waits before it tries again.
#[utoipa::path(
    post,
    path = "/webhooks/{id}/resume",
    tag = "webhooks",
    operation_id = "resume_webhook",
    security(("OAuth2PasswordBearer" = [])),
    params(
        ("id" = String, Path, description = "The webhook's id"),
        ("Idempotency-Key" = Option<String>, Header, description = "Send again under the same key, and it is done once"),
    ),
    responses(
        (status = 200, description = "The webhook", body = crate::webhooks::WebhookView, headers(("Aegis-Position" = u64))),
        (status = 401, description = "No token", body = ErrorBody),
        (status = 403, description = "A bad token, or neither subscriber nor administrator", body = ErrorBody),
        (status = 404, description = "No such webhook, or not the caller's", body = ErrorBody),
        (status = 503, description = "`unavailable` or `outcome_unknown`", body = ErrorBody),
    ),
)]
pub(crate) async fn resume(
    State(state): State<HttpState>,
    owned: ManagedWebhook,
    request_id: RequestId,
    Idempotent { attempt, body: NoBody }: Idempotent<NoBody>,
) -> Result<impl IntoResponse, ApiError> {
    let resumed = owned.execute(&state, &attempt, &request_id, &WebhookCommand::Resume).await?;
    Ok((PositionHeader(resumed.position), Json(view_after_write(state.app.services()?, &resumed).await?)))
}

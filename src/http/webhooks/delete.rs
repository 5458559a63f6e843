//! `DELETE /webhooks/{id}`

use axum::extract::State;
use axum::http::StatusCode;
use axum::response::IntoResponse;
use domain::WebhookCommand;
use store::StreamId;

use super::ManagedWebhook;
use crate::http::api_error::ApiError;
use crate::http::extract::{Idempotent, NoBody, RequestId};
use crate::http::headers::PositionHeader;
use crate::http::openapi::ErrorBody;
use crate::http::state::HttpState;

/// Deletes a webhook: nothing is sent any more, and its address and its secrets are destroyed.
#[utoipa::path(
    delete,
    path = "/webhooks/{id}",
    tag = "webhooks",
    operation_id = "delete_webhook",
    security(("OAuth2PasswordBearer" = [])),
    params(
        ("id" = String, Path, description = "The webhook's id"),
        ("Idempotency-Key" = Option<String>, Header, description = "Send again under the same key, and it is done once"),
    ),
    responses(
        (status = 204, description = "It is deleted", headers(("Aegis-Position" = u64))),
        (status = 401, description = "No token", body = ErrorBody),
        (status = 403, description = "A bad token, or neither subscriber nor administrator", body = ErrorBody),
        (status = 404, description = "No such webhook, or no longer, or not the caller's", body = ErrorBody),
        (status = 503, description = "`unavailable` or `outcome_unknown`", body = ErrorBody),
    ),
)]
pub(crate) async fn delete(
    State(state): State<HttpState>,
    owned: ManagedWebhook,
    request_id: RequestId,
    Idempotent { attempt, body: NoBody }: Idempotent<NoBody>,
) -> Result<impl IntoResponse, ApiError> {
    let deleted = owned.execute(&state, &attempt, &request_id, &WebhookCommand::Delete).await?;
    // Whoever delivers it forgets it, too; this is for when nobody does.
    if let Err(error) =
        state.app.services()?.deliveries.forget(&StreamId::from_trusted(deleted.id.stream())?).await
    {
        tracing::warn!(webhook = %deleted.id, %error, "the attempts of a deleted webhook are still there");
    }
    Ok((StatusCode::NO_CONTENT, PositionHeader(deleted.position), ()))
}

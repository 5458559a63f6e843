//! `POST /webhooks/{id}/rotate-secret`

use axum::Json;
use axum::extract::State;
use axum::response::IntoResponse;
use domain::WebhookCommand;

use super::{ManagedWebhook, WebhookWithSecret};
use crate::http::api_error::ApiError;
use crate::http::extract::{Idempotent, NoBody, RequestId};
use crate::http::headers::PositionHeader;
use crate::http::openapi::ErrorBody;
use crate::http::state::HttpState;
use crate::webhooks::previous_secret_expiry;

/// Gives a webhook another secret. For 24 hours deliveries are signed with both,
/// unless it is given yet another one.
#[utoipa::path(
    post,
    path = "/webhooks/{id}/rotate-secret",
    tag = "webhooks",
    operation_id = "rotate_webhook_secret",
    security(("OAuth2PasswordBearer" = [])),
    params(
        ("id" = String, Path, description = "The webhook's id"),
        ("Idempotency-Key" = Option<String>, Header, description = "Send again under the same key, and it is done once"),
    ),
    responses(
        (status = 200, description = "The webhook and its new secret", body = WebhookWithSecret, headers(("Aegis-Position" = u64))),
        (status = 401, description = "No token", body = ErrorBody),
        (status = 403, description = "A bad token, or neither subscriber nor administrator", body = ErrorBody),
        (status = 404, description = "No such webhook, or not the caller's", body = ErrorBody),
        (status = 503, description = "`unavailable` or `outcome_unknown`", body = ErrorBody),
    ),
)]
pub(crate) async fn rotate_secret(
    State(state): State<HttpState>,
    owned: ManagedWebhook,
    request_id: RequestId,
    Idempotent { attempt, body: NoBody }: Idempotent<NoBody>,
) -> Result<impl IntoResponse, ApiError> {
    let services = state.app.services()?;
    let previous_until =
        previous_secret_expiry(state.app.env.now()).map_err(|error| ApiError::internal(&error))?;
    let command = WebhookCommand::RotateSecret { secret: services.webhooks.new_secret(), previous_until };
    let rotated = owned.execute(&state, &attempt, &request_id, &command).await?;
    Ok((PositionHeader(rotated.position), Json(WebhookWithSecret::of(services, &rotated).await?)))
}

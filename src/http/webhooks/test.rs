//! `POST /webhooks/{id}/test`

use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use serde::Serialize;
use utoipa::ToSchema;

use super::ManagedWebhook;
use crate::app::App;
use crate::http::api_error::ApiError;
use crate::http::openapi::ErrorBody;

/// What came of a test.
#[derive(Serialize, ToSchema)]
#[schema(as = WebhookTest)]
pub(crate) struct TestView {
    /// Whether the receiver took it.
    delivered: bool,
    /// The status of the answer; null if there was none.
    status: Option<u16>,
    /// What went wrong; null if nothing did.
    error: Option<String>,
    /// How long it took, in milliseconds.
    latency_ms: u64,
}

/// Sends a signed event of the type `WebhookTest` at once, and once, whatever else is under way. It is in no log.
#[utoipa::path(
    post,
    path = "/webhooks/{id}/test",
    tag = "webhooks",
    operation_id = "test_webhook",
    security(("OAuth2PasswordBearer" = [])),
    params(("id" = String, Path, description = "The webhook's id")),
    responses(
        (status = 200, description = "What came of it", body = TestView),
        (status = 401, description = "No token", body = ErrorBody),
        (status = 403, description = "A bad token, or neither subscriber nor administrator", body = ErrorBody),
        (status = 404, description = "No such webhook, or not the caller's", body = ErrorBody),
        (status = 503, description = "`busy`: 32 addresses are being looked at already", body = ErrorBody),
    ),
)]
pub(crate) async fn test(
    State(app): State<Arc<App>>,
    owned: ManagedWebhook,
) -> Result<Json<TestView>, ApiError> {
    if owned.state.webhook.is_none() {
        return Err(ApiError::WebhookNotFound);
    }
    let _place = app.sender.try_lookup_permit().ok_or_else(ApiError::too_many_checks)?;
    let tested = app.services()?.delivery_context.test(&app.sender, &owned.state).await;
    let delivered = tested.error.is_none();
    let (status, error, latency_ms) = (tested.status, tested.error, tested.latency_ms);
    Ok(Json(TestView { delivered, status, error, latency_ms }))
}

//! `GET /webhooks/{id}`

use std::sync::Arc;

use axum::Json;
use axum::extract::State;

use super::ManagedWebhook;
use crate::app::App;
use crate::http::api_error::ApiError;
use crate::http::openapi::ErrorBody;
use crate::webhooks::WebhookView;

/// Shows a webhook, and how far it is.
#[utoipa::path(
    get,
    path = "/webhooks/{id}",
    tag = "webhooks",
    operation_id = "show_webhook",
    security(("OAuth2PasswordBearer" = [])),
    params(("id" = String, Path, description = "The webhook's id")),
    responses(
        (status = 200, description = "The webhook", body = WebhookView),
        (status = 401, description = "No token", body = ErrorBody),
        (status = 403, description = "A bad token, or neither subscriber nor administrator", body = ErrorBody),
        (status = 404, description = "No such webhook, or not the caller's", body = ErrorBody),
    ),
)]
pub(crate) async fn show(
    State(app): State<Arc<App>>,
    owned: ManagedWebhook,
) -> Result<Json<WebhookView>, ApiError> {
    let view = WebhookView::of(&*app.services()?.deliveries, &owned.state).await?;
    view.map(Json).ok_or(ApiError::WebhookNotFound)
}

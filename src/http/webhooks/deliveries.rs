//! `GET /webhooks/{id}/deliveries`

use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use serde::Serialize;
use serde_json::Value;
use store::StreamId;
use utoipa::ToSchema;

use super::managed_webhook::ManagedWebhook;
use crate::app::App;
use crate::http::api_error::ApiError;
use crate::http::extract::{Limit, MAX_POSITION, QueryParams, WebhookPath};

const DEFAULT_LIMIT: usize = 100;
const MAX_LIMIT: u64 = 1000;

/// A page of delivery attempts.
#[derive(Serialize, ToSchema)]
#[schema(as = DeliveryPage)]
pub(crate) struct DeliveryPage {
    /// Newest first. The last 1,000 attempts of each webhook are stored.
    deliveries: Vec<Attempt>,
    /// The next page's `before`; left out of the last page.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    next: Option<u64>,
}

/// One attempt to deliver one event; the report is stored as JSON.
#[derive(Serialize)]
pub(crate) struct Attempt {
    number: u64,
    #[serde(flatten)]
    report: Value,
}

/// Lists the latest delivery attempts with status, latency and error.
#[utoipa::path(
    get, path = "/webhooks/{id}/deliveries",
    params(
        WebhookPath,
        ("before" = Option<u64>, Query, minimum = 1, description = "Only attempts before this number"),
        Limit<MAX_LIMIT>,
    ),
    responses(
        (status = 200, description = "Delivery attempts, newest first", body = DeliveryPage),
        ManagedWebhook,
        (status = 422, description = "Invalid parameters"),
    ),
)]
pub(crate) async fn list_deliveries(
    State(app): State<Arc<App>>,
    webhook: ManagedWebhook,
    mut params: QueryParams,
) -> Result<Json<DeliveryPage>, ApiError> {
    let page = (params.limit(MAX_LIMIT, DEFAULT_LIMIT), params.number("before", 1..=MAX_POSITION));
    let (limit, before) = params.finish(page)?;
    if webhook.state.webhook.is_none() {
        return Err(ApiError::WebhookNotFound);
    }
    let stream = StreamId::from_trusted(webhook.state.id.stream())?;
    let found = app.services()?.deliveries.attempts(&stream, before, limit).await?;
    let next = found.last().filter(|_| found.len() == limit).map(|attempt| attempt.number);
    let attempt = |attempt: store::Attempt| Attempt { number: attempt.number, report: attempt.report };
    Ok(Json(DeliveryPage { deliveries: found.into_iter().map(attempt).collect(), next }))
}

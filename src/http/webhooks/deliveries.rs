//! `GET /webhooks/{id}/deliveries`

use std::sync::Arc;

use axum::Json;
use axum::extract::{FromRequestParts, State};
use axum::http::request::Parts;
use serde::Serialize;
use serde_json::Value;
use store::StreamId;
use utoipa::ToSchema;

use super::ManagedWebhook;
use crate::app::App;
use crate::http::api_error::ApiError;
use crate::http::extract::QueryParams;
use crate::http::openapi::{ErrorBody, ValidationErrorBody};

const DEFAULT_LIMIT: usize = 100;
const MAX_LIMIT: u64 = 1000;

/// Attempts to deliver.
#[derive(Serialize, ToSchema)]
#[schema(as = Deliveries)]
pub(crate) struct DeliveryPage {
    /// The newest first. The last 1,000 of each webhook are kept.
    #[schema(value_type = Vec<AttemptBody>)]
    deliveries: Vec<Attempt>,
    /// The next page's `before`; left out of the last page.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    next: Option<u64>,
}

#[derive(Serialize)]
struct Attempt {
    number: u64,
    #[serde(flatten)]
    report: Value,
}

/// One attempt to deliver one event.
#[derive(ToSchema)]
#[schema(as = DeliveryAttempt)]
#[expect(dead_code, reason = "it describes what is stored")]
pub(crate) struct AttemptBody {
    /// Attempts are counted from 1.
    number: u64,
    /// When it began.
    #[schema(format = DateTime)]
    at: String,
    /// The position of the event.
    position: u64,
    /// Its id, which is also the `webhook-id`.
    event: String,
    /// Its type.
    r#type: String,
    /// How often the event was tried by then.
    attempt: u32,
    /// Whether it was asked for once more.
    replay: bool,
    /// Whether the receiver has it.
    delivered: bool,
    /// The status of the answer; null if there was none.
    status: Option<u16>,
    /// What went wrong; null if nothing did.
    error: Option<String>,
    /// How long it took, in milliseconds.
    latency_ms: u64,
}

/// Which are asked for.
pub(crate) struct DeliveriesQuery {
    before: Option<u64>,
    limit: usize,
}

impl<S: Sync> FromRequestParts<S> for DeliveriesQuery {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, ApiError> {
        let mut params = QueryParams::of(&parts.uri);
        let limit = params.limit(MAX_LIMIT, DEFAULT_LIMIT);
        let before = params.number("before", 1..=i64::MAX.cast_unsigned());
        params.finish(Self { before, limit })
    }
}

/// Shows what was tried last: each attempt with its status, latency and error.
#[utoipa::path(
    get,
    path = "/webhooks/{id}/deliveries",
    tag = "webhooks",
    operation_id = "list_deliveries",
    security(("OAuth2PasswordBearer" = [])),
    params(
        ("id" = String, Path, description = "The webhook's id"),
        ("before" = Option<u64>, Query, description = "Only attempts before this number"),
        ("limit" = Option<u64>, Query, description = "At most so many: 1 to 1000, 100 by default"),
    ),
    responses(
        (status = 200, description = "Attempts, the newest first", body = DeliveryPage),
        (status = 401, description = "No token", body = ErrorBody),
        (status = 403, description = "A bad token, or neither subscriber nor administrator", body = ErrorBody),
        (status = 404, description = "No such webhook, or not the caller's", body = ErrorBody),
        (status = 422, description = "Bad parameters", body = ValidationErrorBody),
    ),
)]
pub(crate) async fn deliveries(
    State(app): State<Arc<App>>,
    owned: ManagedWebhook,
    query: DeliveriesQuery,
) -> Result<Json<DeliveryPage>, ApiError> {
    if owned.state.webhook.is_none() {
        return Err(ApiError::WebhookNotFound);
    }
    let stream = StreamId::from_trusted(owned.state.id.stream())?;
    let found = app.services()?.deliveries.attempts(&stream, query.before, query.limit).await?;
    let next = found.last().filter(|_| found.len() == query.limit).map(|attempt| attempt.number);
    let shown = |attempt: store::Attempt| Attempt { number: attempt.number, report: attempt.report };
    Ok(Json(DeliveryPage { deliveries: found.into_iter().map(shown).collect(), next }))
}

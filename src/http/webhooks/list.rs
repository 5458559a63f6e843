//! `GET /webhooks`

use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use domain::{Role, WebhookId};
use serde::Serialize;
use utoipa::ToSchema;

use crate::app::App;
use crate::http::api_error::{ApiError, Loc, ValidationError};
use crate::http::extract::{MinPosition, QueryParams, WebhookOwner};
use crate::webhooks::{MAX_WEBHOOKS_PER_USER, WebhookStatus};

const MAX_LIMIT: u64 = 100;
const ID_PATTERN: &str = "^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$";

/// A page of webhooks.
#[derive(Serialize, ToSchema)]
#[schema(as = Webhooks)]
pub(crate) struct WebhookPage {
    /// By ascending id.
    webhooks: Vec<WebhookStatus>,
    /// The next page's `after`; left out of the last page.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    next: Option<String>,
}

/// Lists the caller's webhooks; administrators get those of all users.
#[utoipa::path(
    get, path = "/webhooks",
    params(
        ("after" = Option<String>, Query, description = "Only webhooks with ids above this one"),
        ("limit" = Option<u64>, Query,
            description = "The maximum number of webhooks: 1 to 100, 100 by default"),
        MinPosition,
    ),
    responses(
        (status = 200, description = "A page of webhooks", body = WebhookPage),
        WebhookOwner,
        (status = 422, description = "Invalid parameters"),
        (status = 503, description = "`unavailable` or `projection_behind`"),
    ),
)]
pub(crate) async fn list_webhooks(
    State(app): State<Arc<App>>,
    WebhookOwner(caller): WebhookOwner,
    mut params: QueryParams,
) -> Result<Json<WebhookPage>, ApiError> {
    let limit = params.limit(MAX_LIMIT, MAX_WEBHOOKS_PER_USER);
    let after = match params.text("after") {
        None => None,
        Some(text) => Some(WebhookId::parse(&text).map_err(|_| {
            let loc = Loc::Query("after");
            ApiError::invalid(ValidationError::pattern_mismatch(loc, ID_PATTERN, text.into()))
        })?),
    };
    params.finish(())?;
    let services = app.services()?;
    let head = services.store.head().await?.position;
    services.webhook_rows.wait_for_position(head).await?;
    let mut rows = if caller.has(Role::Admin) {
        services.webhook_rows.page(after, limit + 1).await?
    } else {
        let own = services.webhook_rows.of(caller.row.id).await?.into_iter();
        own.filter(|row| after.is_none_or(|after| row.id > after)).collect()
    };
    let is_last = rows.len() <= limit;
    rows.truncate(limit);
    let next = rows.last().filter(|_| !is_last).map(|row| row.id.to_string());
    let mut webhooks = Vec::with_capacity(rows.len());
    for row in rows {
        let state = services.webhooks.state(row.id).await?;
        // `None` if it was deleted since the rows were read.
        webhooks.extend(WebhookStatus::of(&*services.deliveries, &state).await?);
    }
    Ok(Json(WebhookPage { webhooks, next }))
}

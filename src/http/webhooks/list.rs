//! `GET /webhooks`

use std::sync::Arc;

use axum::Json;
use axum::extract::{FromRequestParts, State};
use axum::http::request::Parts;
use domain::{Role, WebhookId};
use serde::Serialize;
use utoipa::ToSchema;

use crate::app::App;
use crate::http::api_error::{ApiError, Loc, ValidationError};
use crate::http::extract::{QueryParams, WebhookOwner};
use crate::http::openapi::{ErrorBody, ValidationErrorBody};
use crate::webhooks::{MAX_WEBHOOKS_PER_USER, WebhookView};

const MAX_LIMIT: u64 = 100;
const ID_PATTERN: &str = "^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$";

/// Webhooks.
#[derive(Serialize, ToSchema)]
#[schema(as = Webhooks)]
pub(crate) struct WebhookPage {
    /// By id.
    webhooks: Vec<WebhookView>,
    /// The next page's `after`; left out of the last page.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    next: Option<String>,
}

/// Which are asked for.
pub(crate) struct WebhooksQuery {
    after: Option<WebhookId>,
    limit: usize,
}

impl<S: Sync> FromRequestParts<S> for WebhooksQuery {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, ApiError> {
        let mut params = QueryParams::of(&parts.uri);
        let limit = params.limit(MAX_LIMIT, MAX_WEBHOOKS_PER_USER);
        let after = match params.text("after") {
            None => None,
            Some(text) => Some(WebhookId::parse(&text).map_err(|_| {
                ApiError::invalid(ValidationError::pattern_mismatch(
                    Loc::Query("after"),
                    ID_PATTERN,
                    text.into(),
                ))
            })?),
        };
        params.finish(Self { after, limit })
    }
}

/// Shows the caller's webhooks; to administrators everybody's.
#[utoipa::path(
    get,
    path = "/webhooks",
    tag = "webhooks",
    operation_id = "list_webhooks",
    security(("OAuth2PasswordBearer" = [])),
    params(
        ("after" = Option<String>, Query, description = "Only webhooks with ids above this one"),
        ("limit" = Option<u64>, Query, description = "At most so many: 1 to 100, 100 by default"),
        ("Aegis-Min-Position" = Option<u64>, Header, description = "Show at least this position of the log"),
    ),
    responses(
        (status = 200, description = "Webhooks", body = WebhookPage),
        (status = 401, description = "No token", body = ErrorBody),
        (status = 403, description = "A bad token, or neither subscriber nor administrator", body = ErrorBody),
        (status = 422, description = "Bad parameters", body = ValidationErrorBody),
        (status = 503, description = "`unavailable` or `projection_behind`", body = ErrorBody),
    ),
)]
pub(crate) async fn list(
    State(app): State<Arc<App>>,
    WebhookOwner(caller): WebhookOwner,
    query: WebhooksQuery,
) -> Result<Json<WebhookPage>, ApiError> {
    let services = app.services()?;
    let head = services.store.head().await?.position;
    services.webhook_rows.wait_for_position(head).await?;
    let mut rows = if caller.has(Role::Admin) {
        services.webhook_rows.page(query.after, query.limit + 1).await?
    } else {
        let own = services.webhook_rows.of(caller.row.id).await?.into_iter();
        own.filter(|row| query.after.is_none_or(|after| row.id > after)).collect()
    };
    let is_last = rows.len() <= query.limit;
    rows.truncate(query.limit);
    let next = rows.last().filter(|_| !is_last).map(|row| row.id.to_string());
    let mut webhooks = Vec::with_capacity(rows.len());
    for row in rows {
        let state = services.webhooks.state(row.id).await?;
        // None: deleted this moment.
        webhooks.extend(WebhookView::of(&*services.deliveries, &state).await?);
    }
    Ok(Json(WebhookPage { webhooks, next }))
}

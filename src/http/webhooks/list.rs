//! `GET /webhooks`

use std::sync::Arc;

use axum::Json;
use axum::extract::{FromRequestParts, State};
use axum::http::request::Parts;
use domain::{Role, WebhookId};
use serde::Serialize;
use utoipa::ToSchema;

use crate::app::App;
use crate::http::extract::{Params, Subscriber};
use crate::http::openapi::{ErrorBody, ValidationErrorBody};
use crate::http::problem::{Fault, Loc, Problem};
use crate::webhooks::{MOST, WebhookView};

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
pub(crate) struct Asked {
    after: Option<WebhookId>,
    limit: usize,
}

impl<S: Sync> FromRequestParts<S> for Asked {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Problem> {
        let mut params = Params::of(&parts.uri);
        let limit = params.limit(MAX_LIMIT, MOST);
        let after = match params.text("after") {
            None => None,
            Some(text) => Some(WebhookId::parse(&text).map_err(|_| {
                Problem::invalid(Fault::no_match(Loc::Query("after"), ID_PATTERN, text.into()))
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
    Subscriber(caller): Subscriber,
    asked: Asked,
) -> Result<Json<WebhookPage>, Problem> {
    let node = app.node()?;
    let head = node.store.head().await?.position;
    node.webhook_rows.reach(head).await?;
    let mut rows = if caller.has(Role::Admin) {
        node.webhook_rows.page(asked.after, asked.limit + 1).await?
    } else {
        let own = node.webhook_rows.of(caller.row.id).await?.into_iter();
        own.filter(|row| asked.after.is_none_or(|after| row.id > after)).collect()
    };
    let is_last = rows.len() <= asked.limit;
    rows.truncate(asked.limit);
    let next = rows.last().filter(|_| !is_last).map(|row| row.id.to_string());
    let mut webhooks = Vec::with_capacity(rows.len());
    for row in rows {
        let state = node.webhooks.state(row.id).await?;
        // None: deleted this moment.
        webhooks.extend(WebhookView::of(&*node.deliveries, &state).await?);
    }
    Ok(Json(WebhookPage { webhooks, next }))
}

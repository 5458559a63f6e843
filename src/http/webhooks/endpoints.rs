//! `GET` and `POST /webhooks`, `GET` and `DELETE /webhooks/{id}`

use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::IntoResponse;
use domain::{BatchSize, Reason, Role, WebhookCommand, WebhookId, WebhookUrl};
use serde::Serialize;
use store::Position;
use utoipa::ToSchema;
use utoipa::openapi::schema::{SchemaType, Type};
use utoipa::openapi::{RefOr, Schema};

use super::managed_webhook::{ManagedWebhook, WebhookWithSecret};
use crate::app::App;
use crate::command::{CommandContext, NewWebhook};
use crate::config::Settings;
use crate::http::api_error::{ApiError, Loc, ValidationError};
use crate::http::conditional::{IfMatch, IfNoneMatch, entity_tag_of};
use crate::http::extract::{
    FieldReader, FromFields, JsonBody, Limit, MAX_POSITION, MinPosition, NoBody, QueryParams, UUID_PATTERN,
    WebhookOwner, WebhookPath, event_types,
};
use crate::http::headers::position_header;
use crate::http::idempotency::{Idempotent, WriteAttempt};
use crate::http::openapi::builders::string;
use crate::http::openapi::parameters::{document_extractors, query_parameter};
use crate::webhooks::WebhookStatus;

const MAX_LIMIT: u64 = 100;
const DEFAULT_LIMIT: usize = 100;

/// A page of webhooks.
#[derive(Serialize, ToSchema)]
#[schema(as = WebhookPage)]
pub(crate) struct WebhookPage {
    /// By ascending id.
    webhooks: Vec<WebhookStatus>,
    /// The next page's `after`; left out of the last page.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    next: Option<String>,
}

/// Documents the parameter `after`.
pub(crate) struct AfterWebhook;

document_extractors! {
    AfterWebhook: [query_parameter("after",
        string("Only webhooks with ids above this one").pattern(Some(UUID_PATTERN)))];
}

/// Lists the caller's webhooks; administrators get those of all users.
#[utoipa::path(
    get, path = "/webhooks",
    params(
        AfterWebhook,
        Limit<MAX_LIMIT>,
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
    let limit = params.limit(MAX_LIMIT, DEFAULT_LIMIT);
    let after = match params.take("after") {
        None => None,
        Some(text) => Some(WebhookId::parse(&text).map_err(|_| {
            let loc = Loc::Query("after");
            ApiError::invalid(ValidationError::pattern_mismatch(loc, UUID_PATTERN, text.into()))
        })?),
    };
    params.finish(())?;
    let services = app.services()?;
    let head = services.store.head().await?.position;
    services.webhook_rows.wait_for_position(head).await?;
    let mut rows = if caller.has(Role::Admin) {
        services.webhook_rows.page(after, limit + 1).await?
    } else {
        let own = services.webhook_rows.of(caller.user()?).await?.into_iter();
        own.filter(|row| after.is_none_or(|after| row.id > after)).collect()
    };
    let is_last = rows.len() <= limit;
    rows.truncate(limit);
    let next = rows.last().filter(|_| !is_last).map(|row| row.id.to_string());
    let mut webhooks = Vec::with_capacity(rows.len());
    for row in rows {
        let state = services.webhooks.state(row.id).await?;
        // `None` if it was deleted since the rows were read.
        webhooks.extend(services.delivery_context.status(&state).await?);
    }
    Ok(Json(WebhookPage { webhooks, next }))
}

/// A new webhook. Unknown fields are ignored.
#[derive(ToSchema)]
#[schema(as = NewWebhook)]
pub(crate) struct NewWebhookBody {
    /// Where events are delivered: a public `https` URL, unless the service allows private networks.
    #[schema(
        value_type = String, format = "uri", max_length = 2048, pattern = "^[hH][tT][tT][pP][sS]?://[^#]*$",
        examples("https://example.com/events"),
    )]
    url: WebhookUrl,
    /// The event types; all by default.
    #[schema(schema_with = types_schema)]
    types: Option<Vec<String>>,
    /// What it is for.
    #[schema(
        value_type = Option<String>, min_length = 1, max_length = 500,
        pattern = r"^[^\u0000-\u0008\u000B\u000C\u000E-\u001F\u007F-\u009F]*$",
    )]
    description: Option<Reason>,
    /// Deliver events after this position; the head of the log by default.
    after: Option<u64>,
    /// Deliver up to this many events in one request, in the batch format of `CloudEvents`; by default each event is
    /// delivered by itself.
    #[schema(value_type = Option<u8>, minimum = 1, maximum = 100)]
    batch: Option<BatchSize>,
}

/// The list may be null.
fn types_schema() -> RefOr<Schema> {
    let types = event_types("The event types; all by default.");
    types.schema_type(SchemaType::from_iter([Type::Array, Type::Null])).into()
}

impl FromFields for NewWebhookBody {
    fn from_fields(fields: &mut FieldReader, _: &Settings) -> Option<Self> {
        let url = fields.webhook_url("url");
        let types = fields.event_types("types");
        let description = fields.reason("description");
        let after = fields.optional_number("after", 0..=MAX_POSITION);
        let batch = fields.optional_number("batch", 1..=u64::from(BatchSize::MAX));
        Some(Self {
            url: url?,
            types: Some(types),
            description,
            after,
            batch: batch.and_then(BatchSize::new),
        })
    }
}

/// Registers a webhook. Events are delivered in order, and retried until the receiver accepts them.
#[utoipa::path(
    post, path = "/webhooks",
    params(WriteAttempt),
    request_body = NewWebhookBody,
    responses(
        (status = 201, description = "The webhook is registered", body = WebhookWithSecret,
            headers(
                ("Location" = String, description = "The path of the webhook"),
                ("ETag" = String),
                ("Aegis-Position" = u64),
            )),
        WebhookOwner,
        (status = 409, description = "`too_many_webhooks`: the caller has 100"),
        (status = 422, description = "Invalid fields, or a URL that the egress policy forbids"),
        (status = 429, description = "`rate_limited`, with `Retry-After`"),
        (status = 503, description = "`busy`, `unavailable` or `outcome_unknown`"),
    ),
)]
pub(crate) async fn register_webhook(
    WebhookOwner(owner): WebhookOwner,
    Idempotent { attempt, body: JsonBody(body) }: Idempotent<JsonBody<NewWebhookBody>>,
) -> Result<impl IntoResponse, ApiError> {
    let app = &attempt.state.app;
    let services = app.services()?;
    let (actor, owner) = (owner.actor(), owner.user()?);
    let register = async |context: CommandContext| {
        let NewWebhookBody { url, types, description, after, batch } = body;
        app.limits.register_webhook(owner)?;
        let permit = app.sender.try_lookup_permit().ok_or_else(ApiError::too_many_address_checks)?;
        if let Err(error) = app.sender.check(&url, Some(permit)).await {
            let error =
                ValidationError::invalid_url(Loc::Field("url"), &error.to_string(), url.as_str().into());
            return Err(ApiError::invalid(error));
        }
        let head = services.store.head().await?.position;
        let after = after.map_or(head, Position::new);
        if after > head {
            return Err(ApiError::beyond_head(Loc::Field("after"), after, head));
        }
        let (types, after) = (types.unwrap_or_default(), after.get());
        Ok(services
            .webhooks
            .register(&context, NewWebhook { owner, url, types, description, after, batch })
            .await?)
    };
    let registered = attempt.execute(&actor, register).await?;
    let location = app.settings.http.path(&format!("/webhooks/{}", registered.id));
    let view = WebhookWithSecret::after_write(services, &registered).await?;
    Ok((
        StatusCode::CREATED,
        [(header::LOCATION, location)],
        view.entity_tag(registered.version),
        position_header(registered.position),
        Json(view),
    ))
}

/// Shows a webhook and its delivery progress.
#[utoipa::path(
    get, path = "/webhooks/{id}",
    params(WebhookPath, IfNoneMatch),
    responses(
        (status = 200, description = "The webhook", body = WebhookStatus,
            headers(("ETag" = String))),
        IfNoneMatch,
        ManagedWebhook,
    ),
)]
pub(crate) async fn show_webhook(
    State(app): State<Arc<App>>,
    webhook: ManagedWebhook,
) -> Result<impl IntoResponse, ApiError> {
    let status = app.services()?.delivery_context.status(&webhook.state).await?;
    let status = status.ok_or(ApiError::WebhookNotFound)?;
    Ok((entity_tag_of(webhook.state.version, &status), Json(status)))
}

/// Deletes a webhook: deliveries stop, and its URL and its secrets are destroyed.
#[utoipa::path(
    delete, path = "/webhooks/{id}",
    params(WebhookPath, IfMatch, WriteAttempt),
    responses(
        (status = 204, description = "The webhook is deleted", headers(("Aegis-Position" = u64))),
        ManagedWebhook,
        IfMatch,
        (status = 503, description = "`unavailable` or `outcome_unknown`"),
    ),
)]
pub(crate) async fn delete_webhook(
    webhook: ManagedWebhook,
    Idempotent { attempt, body: NoBody }: Idempotent<NoBody>,
) -> Result<impl IntoResponse, ApiError> {
    let deleted = webhook.execute(&attempt, &WebhookCommand::Delete).await?;
    Ok((StatusCode::NO_CONTENT, position_header(deleted.position), ()))
}

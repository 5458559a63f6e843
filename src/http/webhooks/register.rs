//! `POST /webhooks`

use axum::Json;
use axum::http::{StatusCode, header};
use axum::response::IntoResponse;
use domain::{Reason, WebhookUrl};
use store::Position;
use utoipa::ToSchema;

use super::view::WebhookWithSecret;
use crate::command::{CommandContext, NewWebhook};
use crate::config::Settings;
use crate::http::api_error::{ApiError, Loc, ValidationError};
use crate::http::extract::{FieldReader, FromFields, JsonBody, MAX_POSITION, WebhookOwner};
use crate::http::headers::PositionHeader;
use crate::http::idempotency::{Idempotent, WriteAttempt};
use crate::webhooks::MAX_WEBHOOKS_PER_USER;

/// A new webhook. Unknown fields are ignored.
#[derive(ToSchema)]
#[schema(as = NewWebhook)]
pub(crate) struct NewWebhookBody {
    /// Where events are delivered: a public `https` URL, unless the service allows private networks.
    #[schema(value_type = String, max_length = 2048, examples("https://example.com/events"))]
    url: WebhookUrl,
    /// The event types; all by default.
    #[schema(examples(json!(["UserRegistered", "UserDeactivated"])))]
    types: Option<Vec<String>>,
    /// What it is for.
    #[schema(value_type = Option<String>, min_length = 1, max_length = 500)]
    description: Option<Reason>,
    /// Deliver events after this position; the head of the log by default.
    after: Option<u64>,
}

impl FromFields for NewWebhookBody {
    fn from_fields(fields: &mut FieldReader, _: &Settings) -> Option<Self> {
        let url = fields.webhook_url("url");
        let types = fields.event_types("types");
        let description = fields.reason("description");
        let after = fields.optional_number("after", 0..=MAX_POSITION);
        Some(Self { url: url?, types: Some(types), description, after })
    }
}

/// Registers a webhook. Events are delivered in order, and retried until the receiver accepts them.
#[utoipa::path(
    post, path = "/webhooks",
    params(WriteAttempt),
    request_body = NewWebhookBody,
    responses(
        (status = 201, description = "The webhook is registered", body = WebhookWithSecret,
            headers(("Location" = String, description = "The path of the webhook"), ("Aegis-Position" = u64))),
        WebhookOwner,
        (status = 409, description = "`too_many_webhooks`: the caller has 100"),
        (status = 422, description = "Invalid fields, or a URL that the egress policy forbids"),
        (status = 503, description = "`busy`, `unavailable`, `projection_behind` or `outcome_unknown`"),
    ),
)]
pub(crate) async fn register_webhook(
    WebhookOwner(owner): WebhookOwner,
    Idempotent { attempt, body: JsonBody(body) }: Idempotent<JsonBody<NewWebhookBody>>,
) -> Result<impl IntoResponse, ApiError> {
    let app = &attempt.state.app;
    let services = app.services()?;
    let (actor, owner) = (owner.actor(), owner.row.id);
    let register = async |context: CommandContext| {
        let NewWebhookBody { url, types, description, after } = body;
        let permit = app.sender.try_lookup_permit().ok_or_else(ApiError::too_many_address_checks)?;
        if let Err(error) = app.sender.check(&url, Some(permit)).await {
            let error =
                ValidationError::invalid_url(Loc::Field("url"), &error.to_string(), url.as_str().into());
            return Err(ApiError::invalid(error));
        }
        let head = services.store.head().await?.position;
        services.webhook_rows.wait_for_position(head).await?;
        if services.webhook_rows.of(owner).await?.len() >= MAX_WEBHOOKS_PER_USER {
            let detail = format!("You have {MAX_WEBHOOKS_PER_USER} webhooks; delete one of those first");
            return Err(ApiError::Conflict { code: "too_many_webhooks", detail });
        }
        let after = after.map_or(head, Position::new);
        if after > head {
            return Err(ApiError::beyond_head(Loc::Field("after"), after, head));
        }
        let (types, after) = (types.unwrap_or_default(), after.get());
        Ok(services.webhooks.register(&context, NewWebhook { owner, url, types, description, after }).await?)
    };
    let registered = attempt.execute(&actor, register).await?;
    let location = app.settings.http.path(&format!("/webhooks/{}", registered.id));
    let view = WebhookWithSecret::after_write(services, &registered).await?;
    Ok((StatusCode::CREATED, [(header::LOCATION, location)], PositionHeader(registered.position), Json(view)))
}

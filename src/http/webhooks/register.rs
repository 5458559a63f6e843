//! `POST /webhooks`

use axum::Json;
use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::IntoResponse;
use domain::{Reason, WebhookUrl};
use store::Position;
use utoipa::ToSchema;

use super::WithSecret;
use crate::command::{Cause, NewWebhook};
use crate::config::Settings;
use crate::http::extract::{Fields, MAX_POSITION, Once, RequestId, Subscriber, Valid, Validated};
use crate::http::headers::Written;
use crate::http::openapi::{ErrorBody, ValidationErrorBody};
use crate::http::problem::{Fault, Loc, Problem};
use crate::http::repeat::once;
use crate::http::state::HttpState;
use crate::webhooks::MOST;

/// A new webhook. Unknown fields are ignored.
#[derive(ToSchema)]
#[schema(as = NewWebhook)]
pub(crate) struct NewWebhookBody {
    /// Where events are sent: an `https` address of the public internet, unless the service allows others.
    #[schema(value_type = String, max_length = 2048, examples("https://example.com/events"))]
    url: WebhookUrl,
    /// The types of events; all if it is left out.
    #[schema(examples(json!(["UserRegistered", "UserDeactivated"])))]
    types: Option<Vec<String>>,
    /// What it is for.
    #[schema(value_type = Option<String>, min_length = 1, max_length = 500)]
    description: Option<Reason>,
    /// Begin after this position; at the head if it is left out.
    after: Option<u64>,
}

impl Validated for NewWebhookBody {
    fn read(fields: &mut Fields, _: &Settings) -> Option<Self> {
        let url = fields.webhook_url("url");
        let types = fields.event_types("types");
        let description = fields.reason("description");
        let after = fields.number_if_given("after", 0..=MAX_POSITION);
        Some(Self { url: url?, types: Some(types), description, after })
    }
}

/// Registers a webhook: events are sent there, in order, until they arrive.
#[utoipa::path(
    post,
    path = "/webhooks",
    tag = "webhooks",
    operation_id = "register_webhook",
    security(("OAuth2PasswordBearer" = [])),
    params(("Idempotency-Key" = Option<String>, Header, description = "Send again under the same key, and it is done once")),
    request_body = NewWebhookBody,
    responses(
        (status = 201, description = "It is registered", body = WithSecret,
            headers(("Location" = String, description = "Where the webhook is"), ("Aegis-Position" = u64))),
        (status = 401, description = "No token", body = ErrorBody),
        (status = 403, description = "A bad token, or neither subscriber nor administrator", body = ErrorBody),
        (status = 409, description = "`too_many_webhooks`: the caller has 100", body = ErrorBody),
        (status = 422, description = "Missing or bad fields, or an address that may not be reached", body = ValidationErrorBody),
        (status = 503, description = "`busy`, `unavailable`, `projection_behind` or `outcome_unknown`", body = ErrorBody),
    ),
)]
pub(crate) async fn register(
    State(state): State<HttpState>,
    Subscriber(owner): Subscriber,
    request_id: RequestId,
    Once { sent, body: Valid(body) }: Once<Valid<NewWebhookBody>>,
) -> Result<impl IntoResponse, Problem> {
    let app = &state.app;
    let node = app.node()?;
    let cause = owner.cause(&request_id);
    let caller = cause.actor.clone();
    let owner = owner.row.id;
    let registered = once(&state, &caller, &sent, async |idempotency| {
        let NewWebhookBody { url, types, description, after } = body;
        let place = app.sender.place().ok_or_else(Problem::too_many_checks)?;
        if let Err(error) = app.sender.check(&url, Some(place)).await {
            let fault = Fault::no_url(Loc::Field("url"), &error.to_string(), url.as_str().into());
            return Err(Problem::invalid(fault));
        }
        let head = node.store.head().await?.position;
        node.webhook_rows.reach(head).await?;
        if node.webhook_rows.of(owner).await?.len() >= MOST {
            let detail = format!("You have {MOST} webhooks; delete one of those first");
            return Err(Problem::Conflict { code: "too_many_webhooks", detail });
        }
        let after = after.map_or(head, Position::new);
        if after > head {
            return Err(Problem::beyond_head(Loc::Field("after"), after, head));
        }
        let (types, after) = (types.unwrap_or_default(), after.get());
        let cause = Cause { idempotency, ..cause };
        Ok(node.webhooks.register(&cause, NewWebhook { owner, url, types, description, after }).await?)
    })
    .await?;
    let location = app.settings.http.path(&format!("/webhooks/{}", registered.id));
    let view = WithSecret::of(node, &registered).await?;
    Ok((StatusCode::CREATED, [(header::LOCATION, location)], Written(registered.position), Json(view)))
}

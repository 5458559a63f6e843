//! `POST /webhooks/{id}/replay`

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use axum::response::IntoResponse;
use domain::WebhookCommand;
use store::Position;
use utoipa::ToSchema;

use super::{ManagedWebhook, view_after_write};
use crate::config::Settings;
use crate::http::api_error::{ApiError, Loc, ValidationError};
use crate::http::extract::{FieldReader, FromFields, Idempotent, JsonBody, MAX_POSITION, RequestId};
use crate::http::headers::PositionHeader;
use crate::http::openapi::{ErrorBody, ValidationErrorBody};
use crate::http::state::HttpState;

/// Which events are sent once more.
#[derive(ToSchema)]
#[schema(as = Replay)]
pub(crate) struct ReplayBody {
    /// The first position.
    #[schema(minimum = 1)]
    from: u64,
    /// The last position.
    to: u64,
}

impl FromFields for ReplayBody {
    fn from_fields(fields: &mut FieldReader, _: &Settings) -> Option<Self> {
        let (from, to) = (fields.number("from", 1..=MAX_POSITION), fields.number("to", 1..=MAX_POSITION));
        Some(Self { from: from?, to: to? })
    }
}

/// Sends the events of a range once more, as far as they were looked at already, with `replay` in them; then goes on as
/// before.
#[utoipa::path(
    post,
    path = "/webhooks/{id}/replay",
    tag = "webhooks",
    operation_id = "replay_webhook",
    security(("OAuth2PasswordBearer" = [])),
    params(
        ("id" = String, Path, description = "The webhook's id"),
        ("Idempotency-Key" = Option<String>, Header, description = "Send again under the same key, and it is done once"),
    ),
    request_body = ReplayBody,
    responses(
        (status = 202, description = "They will be sent", body = crate::webhooks::WebhookView, headers(("Aegis-Position" = u64))),
        (status = 401, description = "No token", body = ErrorBody),
        (status = 403, description = "A bad token, or neither subscriber nor administrator", body = ErrorBody),
        (status = 404, description = "No such webhook, or not the caller's", body = ErrorBody),
        (status = 422, description = "No range, or none of the log", body = ValidationErrorBody),
        (status = 503, description = "`unavailable` or `outcome_unknown`", body = ErrorBody),
    ),
)]
pub(crate) async fn replay(
    State(state): State<HttpState>,
    owned: ManagedWebhook,
    request_id: RequestId,
    Idempotent { attempt, body: JsonBody(ReplayBody { from, to }) }: Idempotent<JsonBody<ReplayBody>>,
) -> Result<impl IntoResponse, ApiError> {
    let services = state.app.services()?;
    let head = services.store.head().await?.position;
    if to > head.get() {
        return Err(ApiError::beyond_head(Loc::Field("to"), Position::new(to), head));
    }
    if from > to {
        return Err(ApiError::invalid(ValidationError::too_large(Loc::Field("from"), to, &from.to_string())));
    }
    let asked = owned.execute(&state, &attempt, &request_id, &WebhookCommand::Replay { from, to }).await?;
    Ok((
        StatusCode::ACCEPTED,
        PositionHeader(asked.position),
        Json(view_after_write(services, &asked).await?),
    ))
}

//! `DELETE /webhooks/{id}`

use axum::extract::State;
use axum::http::StatusCode;
use axum::response::IntoResponse;
use domain::WebhookCommand;
use store::StreamId;

use super::Owned;
use crate::http::extract::{NoBody, Once, RequestId};
use crate::http::headers::Written;
use crate::http::openapi::ErrorBody;
use crate::http::problem::Problem;
use crate::http::state::HttpState;

/// Deletes a webhook: nothing is sent any more, and its address and its secrets are destroyed.
#[utoipa::path(
    delete,
    path = "/webhooks/{id}",
    tag = "webhooks",
    operation_id = "delete_webhook",
    security(("OAuth2PasswordBearer" = [])),
    params(
        ("id" = String, Path, description = "The webhook's id"),
        ("Idempotency-Key" = Option<String>, Header, description = "Send again under the same key, and it is done once"),
    ),
    responses(
        (status = 204, description = "It is deleted", headers(("Aegis-Position" = u64))),
        (status = 401, description = "No token", body = ErrorBody),
        (status = 403, description = "A bad token, or neither subscriber nor administrator", body = ErrorBody),
        (status = 404, description = "No such webhook, or no longer, or not the caller's", body = ErrorBody),
        (status = 503, description = "`unavailable` or `outcome_unknown`", body = ErrorBody),
    ),
)]
pub(crate) async fn delete(
    State(state): State<HttpState>,
    owned: Owned,
    request_id: RequestId,
    Once { sent, body: NoBody }: Once<NoBody>,
) -> Result<impl IntoResponse, Problem> {
    let deleted = owned.carry_out(&state, &sent, &request_id, &WebhookCommand::Delete).await?;
    // Whoever delivers it forgets it, too; this is for when nobody does.
    if let Err(error) = state.app.node()?.deliveries.forget(&StreamId::known(deleted.id.stream())?).await {
        tracing::warn!(webhook = %deleted.id, %error, "the attempts of a deleted webhook are still there");
    }
    Ok((StatusCode::NO_CONTENT, Written(deleted.position), ()))
}

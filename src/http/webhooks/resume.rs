//! `POST /webhooks/{id}/resume`

use axum::Json;
use axum::extract::State;
use axum::response::IntoResponse;
use domain::WebhookCommand;

use super::{Owned, written};
use crate::http::extract::{NoBody, Once, RequestId};
use crate::http::headers::Written;
use crate::http::openapi::ErrorBody;
use crate::http::problem::Problem;
use crate::http::state::HttpState;

/// Delivers again at once, where it had stopped: a webhook that is parked, or one that waits before it tries again.
#[utoipa::path(
    post,
    path = "/webhooks/{id}/resume",
    tag = "webhooks",
    operation_id = "resume_webhook",
    security(("OAuth2PasswordBearer" = [])),
    params(
        ("id" = String, Path, description = "The webhook's id"),
        ("Idempotency-Key" = Option<String>, Header, description = "Send again under the same key, and it is done once"),
    ),
    responses(
        (status = 200, description = "The webhook", body = crate::webhooks::WebhookView, headers(("Aegis-Position" = u64))),
        (status = 401, description = "No token", body = ErrorBody),
        (status = 403, description = "A bad token, or neither subscriber nor administrator", body = ErrorBody),
        (status = 404, description = "No such webhook, or not the caller's", body = ErrorBody),
        (status = 503, description = "`unavailable` or `outcome_unknown`", body = ErrorBody),
    ),
)]
pub(crate) async fn resume(
    State(state): State<HttpState>,
    owned: Owned,
    request_id: RequestId,
    Once { sent, body: NoBody }: Once<NoBody>,
) -> Result<impl IntoResponse, Problem> {
    let resumed = owned.carry_out(&state, &sent, &request_id, &WebhookCommand::Resume).await?;
    Ok((Written(resumed.position), Json(written(state.app.node()?, &resumed).await?)))
}

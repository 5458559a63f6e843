//! `POST /webhooks/{id}/rotate-secret`

use axum::Json;
use axum::extract::State;
use axum::response::IntoResponse;
use domain::WebhookCommand;

use super::{Owned, WithSecret};
use crate::http::extract::{NoBody, Once, RequestId};
use crate::http::headers::Written;
use crate::http::openapi::ErrorBody;
use crate::http::problem::Problem;
use crate::http::state::HttpState;
use crate::webhooks::until_both_end;

/// Gives a webhook another secret. For 24 hours deliveries are signed with both,
/// unless it is given yet another one.
#[utoipa::path(
    post,
    path = "/webhooks/{id}/rotate-secret",
    tag = "webhooks",
    operation_id = "rotate_webhook_secret",
    security(("OAuth2PasswordBearer" = [])),
    params(
        ("id" = String, Path, description = "The webhook's id"),
        ("Idempotency-Key" = Option<String>, Header, description = "Send again under the same key, and it is done once"),
    ),
    responses(
        (status = 200, description = "The webhook and its new secret", body = WithSecret, headers(("Aegis-Position" = u64))),
        (status = 401, description = "No token", body = ErrorBody),
        (status = 403, description = "A bad token, or neither subscriber nor administrator", body = ErrorBody),
        (status = 404, description = "No such webhook, or not the caller's", body = ErrorBody),
        (status = 503, description = "`unavailable` or `outcome_unknown`", body = ErrorBody),
    ),
)]
pub(crate) async fn rotate_secret(
    State(state): State<HttpState>,
    owned: Owned,
    request_id: RequestId,
    Once { sent, body: NoBody }: Once<NoBody>,
) -> Result<impl IntoResponse, Problem> {
    let node = state.app.node()?;
    let previous_until =
        until_both_end(state.app.ambient.now()).map_err(|error| Problem::internal(&error))?;
    let command = WebhookCommand::RotateSecret { secret: node.webhooks.new_secret(), previous_until };
    let rotated = owned.carry_out(&state, &sent, &request_id, &command).await?;
    Ok((Written(rotated.position), Json(WithSecret::of(node, &rotated).await?)))
}

//! The webhook of a path `/webhooks/{id}…`, if the caller may manage it.

use std::collections::BTreeMap;

use axum::extract::FromRequestParts;
use axum::http::request::Parts;
use domain::{Role, WebhookCommand};
use utoipa::IntoResponses;
use utoipa::openapi::{RefOr, Response};

use crate::command::WebhookState;
use crate::http::api_error::ApiError;
use crate::http::extract::{CurrentUser, WebhookOwner, WebhookPath};
use crate::http::idempotency::WriteAttempt;
use crate::http::openapi::error_responses;
use crate::http::state::HttpState;
use crate::http::time_limit::TimeLimit;

/// A webhook, possibly deleted, that the caller owns or administers. Other users' webhooks are answered with
/// 404, so that their existence is not disclosed.
pub(crate) struct ManagedWebhook {
    caller: CurrentUser,
    pub(crate) state: WebhookState,
}

impl FromRequestParts<HttpState> for ManagedWebhook {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, state: &HttpState) -> Result<Self, ApiError> {
        let WebhookOwner(caller) = WebhookOwner::from_request_parts(parts, state).await?;
        let WebhookPath(id) = WebhookPath::from_request_parts(parts, state).await?;
        let load = async { Ok(state.app.services()?.webhooks.state(id).await?) };
        let webhook: WebhookState = TimeLimit::of(&parts.extensions).read("a webhook", load).await?;
        if webhook.owner != caller.row.id && !caller.has(Role::Admin) {
            return Err(ApiError::WebhookNotFound);
        }
        Ok(Self { caller, state: webhook })
    }
}

impl IntoResponses for ManagedWebhook {
    fn responses() -> BTreeMap<String, RefOr<Response>> {
        let not_found = error_responses([("404", "No such webhook, or not the caller's")]);
        WebhookOwner::responses().into_iter().chain(not_found).collect()
    }
}

impl ManagedWebhook {
    /// Executes the caller's command on the webhook.
    pub(super) async fn execute(
        &self,
        attempt: &WriteAttempt,
        command: &WebhookCommand,
    ) -> Result<WebhookState, ApiError> {
        let webhooks = &attempt.state.app.services()?.webhooks;
        let write = async |context| Ok(webhooks.execute(&context, self.state.id, command).await?);
        attempt.execute(&self.caller.actor(), write).await
    }
}

//! The webhook of a path `/webhooks/{id}…`, if the caller may manage it, and its form in answers to writes.

use axum::extract::FromRequestParts;
use axum::http::HeaderName;
use axum::http::request::Parts;
use domain::{Role, WebhookCommand};
use serde::Serialize;
use utoipa::{IntoResponses, ToSchema};

use crate::app::Services;
use crate::command::WebhookState;
use crate::http::api_error::ApiError;
use crate::http::conditional::entity_tag_of;
use crate::http::extract::{Caller, WebhookOwner, WebhookPath};
use crate::http::idempotency::WriteAttempt;
use crate::http::openapi::parameters::{Responses, error_responses};
use crate::http::state::HttpState;
use crate::http::time_limit::TimeLimit;
use crate::webhooks::{WebhookStatus, encode_secret};

/// A webhook, possibly deleted, that the caller owns or administers. Other users' webhooks are answered with
/// 404, so that their existence is not disclosed.
pub(crate) struct ManagedWebhook {
    caller: Caller,
    pub(crate) state: WebhookState,
}

impl FromRequestParts<HttpState> for ManagedWebhook {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, state: &HttpState) -> Result<Self, ApiError> {
        let WebhookOwner(caller) = WebhookOwner::from_request_parts(parts, state).await?;
        let WebhookPath(id) = WebhookPath::from_request_parts(parts, state).await?;
        let load = async { Ok(state.app.services()?.webhooks.state(id).await?) };
        let webhook: WebhookState = TimeLimit::of(&parts.extensions).read("a webhook", load).await?;
        if !caller.has(Role::Admin) && webhook.owner != caller.user()? {
            return Err(ApiError::WebhookNotFound);
        }
        Ok(Self { caller, state: webhook })
    }
}

impl IntoResponses for ManagedWebhook {
    fn responses() -> Responses {
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
        let app = &attempt.state.app;
        let webhooks = &app.services()?.webhooks;
        // Deleting a webhook ends its stream, and must always be possible.
        if *command != WebhookCommand::Delete {
            app.webhook_limits.begin_command(self.state.id).map_err(ApiError::TooManyWebhookRequests)?;
        }
        let write = async |context| Ok(webhooks.execute(&context, self.state.id, command).await?);
        attempt.execute(&self.caller.actor(), write).await
    }
}

/// The status of a webhook that was just changed. The write is durable even if its progress cannot be read.
pub(super) async fn status(services: &Services, state: &WebhookState) -> Result<WebhookStatus, ApiError> {
    let status = services.delivery_context.status_after_change(state).await;
    status.ok_or(ApiError::WebhookNotFound)
}

/// A webhook and its secret, which is shown only in this answer.
#[derive(Serialize, ToSchema)]
#[schema(as = WebhookWithSecret)]
pub(crate) struct WebhookWithSecret {
    #[serde(flatten)]
    webhook: WebhookStatus,
    /// The key that deliveries are signed with (Standard Webhooks). Store it: it is not shown again.
    #[schema(examples("whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSwMfKQ9r8GKYo="))]
    secret: String,
}

impl WebhookWithSecret {
    pub(super) async fn after_write(services: &Services, state: &WebhookState) -> Result<Self, ApiError> {
        let webhook = state.webhook.as_ref().ok_or(ApiError::WebhookNotFound)?;
        let secret = webhook.secret.known().ok_or(ApiError::WebhookNotFound)?;
        Ok(Self { secret: encode_secret(secret), webhook: status(services, state).await? })
    }

    /// The `ETag` of the webhook, without the secret.
    pub(super) fn entity_tag(&self, version: u64) -> [(HeaderName, String); 1] {
        entity_tag_of(version, &self.webhook)
    }
}

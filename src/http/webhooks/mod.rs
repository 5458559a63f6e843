//! `/webhooks`: events sent to whoever asks for them. A webhook of somebody else is not there, but for administrators.

pub(crate) mod delete;
pub(crate) mod deliveries;
pub(crate) mod list;
pub(crate) mod register;
pub(crate) mod replay;
pub(crate) mod resume;
pub(crate) mod rotate_secret;
pub(crate) mod show;
pub(crate) mod test;

use axum::extract::FromRequestParts;
use axum::http::request::Parts;
use domain::{Role, WebhookCommand};
use serde::Serialize;
use utoipa::ToSchema;

use super::api_error::ApiError;
use super::extract::{CurrentUser, RequestId, WebhookOwner, WebhookPath, WriteAttempt};
use super::idempotency::execute_once;
use super::state::HttpState;
use super::time_limit::TimeLimit;
use crate::app::Services;
use crate::command::{CommandContext, WebhookState};
use crate::webhooks::WebhookView;
use crate::webhooks::encode_secret;

/// A webhook that the caller may look after, be it deleted by now, and who they are.
pub(crate) struct ManagedWebhook {
    pub(crate) caller: CurrentUser,
    pub(crate) state: WebhookState,
}

impl FromRequestParts<HttpState> for ManagedWebhook {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, state: &HttpState) -> Result<Self, ApiError> {
        let WebhookOwner(caller) = WebhookOwner::from_request_parts(parts, state).await?;
        let WebhookPath(id) = WebhookPath::from_request_parts(parts, state).await?;
        let found = async { Ok(state.app.services()?.webhooks.state(id).await?) };
        let found: WebhookState = TimeLimit::of(&parts.extensions).read("a webhook", found).await?;
        if found.owner != caller.row.id && !caller.has(Role::Admin) {
            return Err(ApiError::WebhookNotFound);
        }
        Ok(Self { caller, state: found })
    }
}

impl ManagedWebhook {
    /// Carries out a command to it, once if it was sent under a key.
    async fn execute(
        &self,
        state: &HttpState,
        attempt: &WriteAttempt,
        request_id: &RequestId,
        command: &WebhookCommand,
    ) -> Result<WebhookState, ApiError> {
        let context = self.caller.command_context(request_id);
        let caller = context.actor.clone();
        execute_once(state, &caller, attempt, async |idempotency| {
            let context = CommandContext { idempotency, ..context };
            Ok(state.app.services()?.webhooks.execute(&context, self.state.id, command).await?)
        })
        .await
    }
}

/// A webhook with its secret, which is shown this once.
#[derive(Serialize, ToSchema)]
#[schema(as = WebhookWithSecret)]
pub(crate) struct WebhookWithSecret {
    #[serde(flatten)]
    webhook: WebhookView,
    /// What deliveries are signed with (Standard Webhooks). Keep it: it is not shown again.
    #[schema(examples("whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSwMfKQ9r8GKYo="))]
    secret: String,
}

impl WebhookWithSecret {
    async fn of(services: &Services, state: &WebhookState) -> Result<Self, ApiError> {
        let webhook = state.webhook.as_ref().ok_or(ApiError::WebhookNotFound)?;
        let secret = webhook.secret.known().ok_or(ApiError::WebhookNotFound)?;
        Ok(Self { secret: encode_secret(secret), webhook: view_after_write(services, state).await? })
    }
}

/// A webhook that was just changed, as it is shown. That it was stands, whether how far it is can be read now or not.
async fn view_after_write(services: &Services, state: &WebhookState) -> Result<WebhookView, ApiError> {
    WebhookView::after_change(&*services.deliveries, state).await.ok_or(ApiError::WebhookNotFound)
}

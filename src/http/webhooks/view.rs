//! Webhooks in answers to writes.

use serde::Serialize;
use utoipa::ToSchema;

use crate::app::Services;
use crate::command::WebhookState;
use crate::http::api_error::ApiError;
use crate::webhooks::{WebhookStatus, encode_secret};

/// The status of a webhook that was just changed. The write is durable even if its delivery progress cannot be
/// read.
pub(super) async fn status(services: &Services, state: &WebhookState) -> Result<WebhookStatus, ApiError> {
    let status = WebhookStatus::after_change(&*services.deliveries, state).await;
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
}

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

use super::extract::{CurrentUser, RequestId, Sent, Subscriber, WebhookPath};
use super::problem::Problem;
use super::repeat::once;
use super::state::HttpState;
use super::time_limit::TimeLimit;
use crate::app::Node;
use crate::command::{Cause, WebhookState};
use crate::webhooks::WebhookView;
use crate::webhooks::signature::shown;

/// A webhook that the caller may look after, be it deleted by now, and who they are.
pub(crate) struct Owned {
    pub(crate) caller: CurrentUser,
    pub(crate) state: WebhookState,
}

impl FromRequestParts<HttpState> for Owned {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, state: &HttpState) -> Result<Self, Problem> {
        let Subscriber(caller) = Subscriber::from_request_parts(parts, state).await?;
        let WebhookPath(id) = WebhookPath::from_request_parts(parts, state).await?;
        let found = async { Ok(state.app.node()?.webhooks.state(id).await?) };
        let found: WebhookState = TimeLimit::of(&parts.extensions).read("a webhook", found).await?;
        if found.owner != caller.row.id && !caller.has(Role::Admin) {
            return Err(Problem::WebhookNotFound);
        }
        Ok(Self { caller, state: found })
    }
}

impl Owned {
    /// Carries out a command to it, once if it was sent under a key.
    async fn carry_out(
        &self,
        state: &HttpState,
        sent: &Sent,
        request_id: &RequestId,
        command: &WebhookCommand,
    ) -> Result<WebhookState, Problem> {
        let cause = self.caller.cause(request_id);
        let caller = cause.actor.clone();
        once(state, &caller, sent, async |idempotency| {
            let cause = Cause { idempotency, ..cause };
            Ok(state.app.node()?.webhooks.execute(&cause, self.state.id, command).await?)
        })
        .await
    }
}

/// A webhook with its secret, which is shown this once.
#[derive(Serialize, ToSchema)]
#[schema(as = WebhookWithSecret)]
pub(crate) struct WithSecret {
    #[serde(flatten)]
    webhook: WebhookView,
    /// What deliveries are signed with (Standard Webhooks). Keep it: it is not shown again.
    #[schema(examples("whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSwMfKQ9r8GKYo="))]
    secret: String,
}

impl WithSecret {
    async fn of(node: &Node, state: &WebhookState) -> Result<Self, Problem> {
        let webhook = state.webhook.as_ref().ok_or(Problem::WebhookNotFound)?;
        let secret = webhook.secret.known().ok_or(Problem::WebhookNotFound)?;
        Ok(Self { secret: shown(secret), webhook: written(node, state).await? })
    }
}

/// A webhook that was just changed, as it is shown. That it was stands, whether how far it is can be read now or not.
async fn written(node: &Node, state: &WebhookState) -> Result<WebhookView, Problem> {
    WebhookView::written(&*node.deliveries, state).await.ok_or(Problem::WebhookNotFound)
}

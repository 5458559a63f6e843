//! Authority. A handler that takes one of these cannot be reached without it.

use axum::extract::FromRequestParts;
use axum::http::request::Parts;
use domain::Role;
use store::{Position, StreamId};

use super::CurrentUser;
use super::caller::bearer;
use crate::app::App;
use crate::cloud_event::Disclosure;
use crate::http::api_error::ApiError;
use crate::http::client;
use crate::http::state::HttpState;
use crate::webhooks;

/// The caller, if they hold one of these roles.
async fn require_role(roles: &[Role], parts: &mut Parts, state: &HttpState) -> Result<CurrentUser, ApiError> {
    let user = CurrentUser::from_request_parts(parts, state).await?;
    if roles.iter().any(|role| user.has(*role)) { Ok(user) } else { Err(ApiError::Forbidden) }
}

/// A user who may do everything.
pub(crate) struct Admin(pub(crate) CurrentUser);

impl FromRequestParts<HttpState> for Admin {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, state: &HttpState) -> Result<Self, ApiError> {
        require_role(&[Role::Admin], parts, state).await.map(Self)
    }
}

/// Proof that the caller may see other users' personal data: an administrator or an auditor.
pub(crate) struct Auditor;

impl FromRequestParts<HttpState> for Auditor {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, state: &HttpState) -> Result<Self, ApiError> {
        require_role(&[Role::Admin, Role::Auditor], parts, state).await.map(|_| Self)
    }
}

/// A user who may look after the service itself: an operator or an administrator.
pub(crate) struct Operator(pub(crate) CurrentUser);

impl FromRequestParts<HttpState> for Operator {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, state: &HttpState) -> Result<Self, ApiError> {
        require_role(&[Role::Admin, Role::Operator], parts, state).await.map(Self)
    }
}

/// A user who may have webhooks: a subscriber or an administrator.
pub(crate) struct WebhookOwner(pub(crate) CurrentUser);

impl FromRequestParts<HttpState> for WebhookOwner {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, state: &HttpState) -> Result<Self, ApiError> {
        require_role(&webhooks::OWNER_ROLES, parts, state).await.map(Self)
    }
}

/// Proof that the caller may see how many users there are: an administrator, an operator or an auditor.
pub(crate) struct StatsReader;

impl FromRequestParts<HttpState> for StatsReader {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, state: &HttpState) -> Result<Self, ApiError> {
        require_role(&[Role::Admin, Role::Operator, Role::Auditor], parts, state).await.map(|_| Self)
    }
}

/// Proof that the caller may see what the service counts: an operator, an administrator, or whoever asks from this
/// machine itself and not through a proxy.
pub(crate) struct MetricsReader;

impl FromRequestParts<HttpState> for MetricsReader {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, state: &HttpState) -> Result<Self, ApiError> {
        if client::is_local(&parts.extensions, &parts.headers) {
            return Ok(Self);
        }
        Operator::from_request_parts(parts, state).await.map(|_| Self)
    }
}

/// A user who may read events, and how much of them.
pub(crate) struct EventReader {
    pub(crate) disclosure: Disclosure,
    /// What happens to them themselves is told there.
    pub(crate) stream: StreamId,
    /// The token, so that whoever reads on and on can be asked again.
    token: String,
}

impl EventReader {
    fn new(user: &CurrentUser, token: String) -> Result<Self, ApiError> {
        let disclosure = if user.has(Role::Admin) || user.has(Role::Auditor) {
            Disclosure::Personal
        } else if user.has(Role::Subscriber) {
            Disclosure::Redacted
        } else {
            return Err(ApiError::Forbidden);
        };
        let stream = StreamId::new(user.row.id.stream())
            .map_err(|error| ApiError::Internal { cause: error.to_string() })?;
        Ok(Self { disclosure, stream, token })
    }

    /// Whether, and how much, the same caller may still read.
    pub(crate) async fn reauthorize(self, app: &App) -> Result<Self, ApiError> {
        let user = CurrentUser::from_token(app, &self.token).await?;
        Self::new(&user, self.token)
    }
}

impl EventReader {
    /// As [`EventReader::reauthorize`], by the rows as they are at that position. Where they do not get there, they count as
    /// they are, as for any other request; tells whether they did.
    pub(crate) async fn reauthorize_at(
        self,
        app: &App,
        position: Position,
    ) -> Result<(Self, bool), ApiError> {
        let reached = app.services()?.user_rows.wait_for_position(position).await;
        if let Err(error) = &reached {
            tracing::debug!(%error, "a reader goes on with the rights that the rows show");
        }
        Ok((self.reauthorize(app).await?, reached.is_ok()))
    }
}

impl FromRequestParts<HttpState> for EventReader {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, state: &HttpState) -> Result<Self, ApiError> {
        let user = CurrentUser::from_request_parts(parts, state).await?;
        let token = bearer(&parts.headers)?.to_owned();
        Self::new(&user, token)
    }
}

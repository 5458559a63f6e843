//! Authorization by role. A handler that takes one of these extractors runs only for callers who hold a role
//! for it.

use std::collections::BTreeMap;

use axum::extract::FromRequestParts;
use axum::http::request::Parts;
use domain::Role;
use store::{Position, StreamId};
use utoipa::IntoResponses;
use utoipa::openapi::{RefOr, Response};

use super::caller::{CurrentUser, bearer};
use crate::app::App;
use crate::cloud_event::Disclosure;
use crate::http::api_error::ApiError;
use crate::http::client;
use crate::http::openapi::error_responses;
use crate::http::state::HttpState;
use crate::webhooks;

/// The caller, if they hold at least one of the roles.
async fn require_role(roles: &[Role], parts: &mut Parts, state: &HttpState) -> Result<CurrentUser, ApiError> {
    let user = CurrentUser::from_request_parts(parts, state).await?;
    if roles.iter().any(|role| user.has(*role)) { Ok(user) } else { Err(ApiError::Forbidden) }
}

/// Documents the error responses of the extractors.
macro_rules! document_authorization {
    ($($extractor:ty: $forbidden:literal,)*) => {$(
        impl IntoResponses for $extractor {
            fn responses() -> BTreeMap<String, RefOr<Response>> {
                error_responses([("401", "No bearer token"), ("403", $forbidden)])
            }
        }
    )*};
}

document_authorization! {
    Admin: "An invalid token, or not an administrator",
    Auditor: "An invalid token, or neither administrator nor auditor",
    Operator: "An invalid token, or neither operator nor administrator",
    WebhookOwner: "An invalid token, or neither subscriber nor administrator",
    StatsReader: "An invalid token, or neither administrator, operator nor auditor",
    EventReader: "An invalid token, or no role that may read events",
}

/// An administrator.
pub(crate) struct Admin(pub(crate) CurrentUser);

impl FromRequestParts<HttpState> for Admin {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, state: &HttpState) -> Result<Self, ApiError> {
        require_role(&[Role::Admin], parts, state).await.map(Self)
    }
}

/// Proof that the caller may read other users' personal data: an administrator or an auditor.
pub(crate) struct Auditor;

impl FromRequestParts<HttpState> for Auditor {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, state: &HttpState) -> Result<Self, ApiError> {
        require_role(&[Role::Admin, Role::Auditor], parts, state).await.map(|_| Self)
    }
}

/// A user who may operate the service: an operator or an administrator.
pub(crate) struct Operator(pub(crate) CurrentUser);

impl FromRequestParts<HttpState> for Operator {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, state: &HttpState) -> Result<Self, ApiError> {
        require_role(&[Role::Admin, Role::Operator], parts, state).await.map(Self)
    }
}

/// A user who may own webhooks: a subscriber or an administrator.
pub(crate) struct WebhookOwner(pub(crate) CurrentUser);

impl FromRequestParts<HttpState> for WebhookOwner {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, state: &HttpState) -> Result<Self, ApiError> {
        require_role(&webhooks::OWNER_ROLES, parts, state).await.map(Self)
    }
}

/// Proof that the caller may read statistics: an administrator, an operator or an auditor.
pub(crate) struct StatsReader;

impl FromRequestParts<HttpState> for StatsReader {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, state: &HttpState) -> Result<Self, ApiError> {
        require_role(&[Role::Admin, Role::Operator, Role::Auditor], parts, state).await.map(|_| Self)
    }
}

/// Proof that the caller may read metrics: an operator, an administrator, or a client on this machine that
/// does not come through a proxy.
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

/// A user who may read events, and whether personal values are disclosed to them.
pub(crate) struct EventReader {
    pub(crate) disclosure: Disclosure,
    /// The stream of the reader, whose events may change their authorization.
    pub(crate) stream: StreamId,
    /// The token, for authorization checks while a stream is open.
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

    /// Checks the authorization of the same caller again.
    pub(crate) async fn reauthorize(self, app: &App) -> Result<Self, ApiError> {
        let user = CurrentUser::from_token(app, &self.token).await?;
        Self::new(&user, self.token)
    }

    /// As [`EventReader::reauthorize`], with the read model at that position at least. If it does not get
    /// there in time, the check uses its current state, as any request does; returns whether it got there.
    pub(crate) async fn reauthorize_at(
        self,
        app: &App,
        position: Position,
    ) -> Result<(Self, bool), ApiError> {
        let reached = app.services()?.user_rows.wait_for_position(position).await;
        if let Err(error) = &reached {
            tracing::debug!(%error, "authorization of an event reader checked against a lagging read model");
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

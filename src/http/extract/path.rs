//! Path parameters.

use axum::extract::{FromRequestParts, RawPathParams};
use axum::http::request::Parts;
use domain::{Role, UserId, WebhookId};
use projections::Projection;

use crate::http::api_error::{ApiError, Loc, ValidationError};

/// `{id}`: a user. A malformed id is answered like an unknown one.
pub(crate) struct UserPath(pub(crate) UserId);

impl<S: Send + Sync> FromRequestParts<S> for UserPath {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, ApiError> {
        let id = param(parts, state, "id").await.ok_or(ApiError::UserNotFound)?;
        UserId::parse(&id).map(Self).map_err(|_| ApiError::UserNotFound)
    }
}

/// `{id}`: a webhook. A malformed id is answered like an unknown one.
pub(crate) struct WebhookPath(pub(crate) WebhookId);

impl<S: Send + Sync> FromRequestParts<S> for WebhookPath {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, ApiError> {
        let id = param(parts, state, "id").await.ok_or(ApiError::WebhookNotFound)?;
        WebhookId::parse(&id).map(Self).map_err(|_| ApiError::WebhookNotFound)
    }
}

/// `{role}`
pub(crate) struct RolePath(pub(crate) Role);

impl<S: Send + Sync> FromRequestParts<S> for RolePath {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, ApiError> {
        let name = param(parts, state, "role").await.unwrap_or_default();
        name.parse().map(Self).map_err(|_| {
            let expected = "'admin', 'auditor', 'operator' or 'subscriber'";
            ApiError::invalid(ValidationError::invalid_choice(Loc::Path("role"), expected, &name))
        })
    }
}

/// `{name}`: a read model.
pub(crate) struct ProjectionPath(pub(crate) &'static dyn Projection);

impl<S: Send + Sync> FromRequestParts<S> for ProjectionPath {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, ApiError> {
        let name = param(parts, state, "name").await.unwrap_or_default();
        projections::by_name(&name).map(Self).ok_or(ApiError::ProjectionNotFound)
    }
}

/// A path parameter by name.
pub(crate) async fn param<S: Send + Sync>(parts: &mut Parts, state: &S, wanted: &str) -> Option<String> {
    let params = RawPathParams::from_request_parts(parts, state).await.ok()?;
    params.iter().find(|(name, _)| *name == wanted).map(|(_, value)| value.to_owned())
}

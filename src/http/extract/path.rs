//! Path parameters.

use axum::extract::{FromRequestParts, RawPathParams};
use axum::http::request::Parts;
use domain::{Role, SessionId, UserId, WebhookId};
use projections::Projection;
use store::Position;

use super::query::position;
use crate::http::api_error::{ApiError, Loc, ValidationError};

/// Extractors of one path parameter each. A missing one is parsed like an empty one.
macro_rules! path_extractors {
    ($($(#[$meaning:meta])* $extractor:ident($value:ty) = $name:literal, $parse:expr;)*) => {$(
        $(#[$meaning])*
        pub(crate) struct $extractor(pub(crate) $value);

        impl<S: Send + Sync> FromRequestParts<S> for $extractor {
            type Rejection = ApiError;

            async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, ApiError> {
                let text = param(parts, state, $name).await.unwrap_or_default();
                let parse: fn(&str) -> Result<$value, ApiError> = $parse;
                parse(&text).map(Self)
            }
        }
    )*};
}

path_extractors! {
    /// A user. A malformed id is answered like an unknown one.
    UserPath(UserId) = "id", |id| UserId::parse(id).map_err(|_| ApiError::UserNotFound);
    /// A webhook. A malformed id is answered like an unknown one.
    WebhookPath(WebhookId) = "id", |id| WebhookId::parse(id).map_err(|_| ApiError::WebhookNotFound);
    /// A session. A malformed id is answered like an unknown one.
    SessionPath(SessionId) = "id", |id| SessionId::parse(id).map_err(|_| ApiError::SessionNotFound);
    /// A role.
    RolePath(Role) = "role", |name| name.parse().map_err(|_| {
        let expected = "'admin', 'auditor', 'operator' or 'subscriber'";
        ApiError::invalid(ValidationError::invalid_choice(Loc::Path("role"), expected, name))
    });
    /// A read model.
    ProjectionPath(&'static dyn Projection) = "name",
        |name| projections::by_name(name).ok_or(ApiError::ProjectionNotFound);
    /// The position of an event.
    PositionPath(Position) = "position",
        |text| position(Loc::Path("position"), text).map_err(ApiError::invalid);
}

/// A path parameter by name.
pub(crate) async fn param<S: Send + Sync>(parts: &mut Parts, state: &S, wanted: &str) -> Option<String> {
    let params = RawPathParams::from_request_parts(parts, state).await.ok()?;
    params.iter().find(|(name, _)| *name == wanted).map(|(_, value)| value.to_owned())
}

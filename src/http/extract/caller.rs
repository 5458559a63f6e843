//! The caller: the user of the access token, in the current state of the read model, and their authority. A
//! handler that takes an extractor of a role runs only for callers who hold it.

use axum::extract::FromRequestParts;
use axum::http::request::Parts;
use axum::http::{HeaderMap, header};
use domain::{Role, SessionId};
use projections::UserRow;
use store::{Position, StreamId};

use super::documented_query::DocumentedQuery;
use super::headers::MinPosition;
use crate::app::App;
use crate::cloud_event::Disclosure;
use crate::crypto::VerifiedToken;
use crate::http::api_error::ApiError;
use crate::http::client;
use crate::http::sessions;
use crate::http::state::HttpState;
use crate::http::time_limit::TimeLimit;
use crate::webhooks;

/// An active user, authenticated by a token that is not revoked.
pub(crate) struct CurrentUser {
    pub(crate) row: UserRow,
    /// The session that the token belongs to.
    pub(crate) session: Option<SessionId>,
}

impl CurrentUser {
    pub(crate) async fn from_token(app: &App, token: &str) -> Result<Self, ApiError> {
        Self::from_claims(app, verify(app, token).await?).await
    }

    async fn from_claims(app: &App, access: VerifiedToken) -> Result<Self, ApiError> {
        let services = app.services()?;
        if !access.is_of_epoch(services.store.identity().epoch) {
            return Err(ApiError::InvalidToken);
        }
        let row = services.user_rows.by_id(access.user).await?.ok_or(ApiError::UserNotFound)?;
        if !row.is_active {
            return Err(ApiError::InactiveUser);
        }
        if access.version < row.tokens_from {
            return Err(ApiError::TokenRevoked);
        }
        // The row misses no event of its user: the token was issued after events that a restore has undone.
        if access.version > row.version {
            return Err(ApiError::InvalidToken);
        }
        if let Some(session) = access.session
            && sessions::find_open(services, session, &row).await?.is_none()
        {
            return Err(ApiError::TokenRevoked);
        }
        Ok(Self { row, session: access.session })
    }

    /// The caller with the roles that the log confirms. A row can be out of date without showing it, if an
    /// older one was put back into the database.
    pub(crate) async fn confirmed(mut self, app: &App) -> Result<Self, ApiError> {
        if !self.row.roles.is_empty() {
            let logged = app.services()?.users.roles(self.row.id).await?;
            self.row.roles.retain(|role| logged.contains(role));
        }
        Ok(self)
    }

    pub(crate) fn has(&self, role: Role) -> bool {
        self.row.roles.contains(&role)
    }

    /// The caller as the actor of commands.
    pub(crate) fn actor(&self) -> String {
        self.row.id.stream()
    }
}

impl CurrentUser {
    async fn authenticate(parts: &Parts, state: &HttpState) -> Result<Self, ApiError> {
        let app = &state.app;
        // Verify the token first, so that unauthenticated requests cannot wait for a position.
        let access = verify(app, bearer(&parts.headers)?).await?;
        let known = async {
            MinPosition::wait(&parts.headers, app.services()?).await?;
            Self::from_claims(app, access).await
        };
        TimeLimit::of(&parts.extensions).read("the caller", known).await
    }
}

impl FromRequestParts<HttpState> for CurrentUser {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, state: &HttpState) -> Result<Self, ApiError> {
        let user = Self::authenticate(parts, state).await?;
        DocumentedQuery::check(parts)?;
        Ok(user)
    }
}

/// The user of an authentic token; `None` if it is void already, which is what logging out is for.
pub(crate) struct LogoutCaller(pub(crate) Option<CurrentUser>);

impl FromRequestParts<HttpState> for LogoutCaller {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, state: &HttpState) -> Result<Self, ApiError> {
        let user = match CurrentUser::authenticate(parts, state).await {
            Ok(user) => Some(user),
            Err(ApiError::TokenRevoked | ApiError::InactiveUser | ApiError::UserNotFound) => None,
            Err(error) => return Err(error),
        };
        DocumentedQuery::check(parts)?;
        Ok(Self(user))
    }
}

/// Extractors of callers who hold at least one of the roles.
macro_rules! callers_with_role {
    ($($(#[$meaning:meta])* $extractor:ident: $roles:expr;)*) => {$(
        $(#[$meaning])*
        pub(crate) struct $extractor(pub(crate) CurrentUser);

        impl FromRequestParts<HttpState> for $extractor {
            type Rejection = ApiError;

            async fn from_request_parts(parts: &mut Parts, state: &HttpState) -> Result<Self, ApiError> {
                let user = CurrentUser::authenticate(parts, state).await?;
                let confirmed = user.confirmed(&state.app);
                let user = TimeLimit::of(&parts.extensions).read("the caller's roles", confirmed).await?;
                if !$roles.iter().any(|role| user.has(*role)) {
                    return Err(ApiError::Forbidden);
                }
                DocumentedQuery::check(parts)?;
                Ok(Self(user))
            }
        }
    )*};
}

callers_with_role! {
    /// An administrator.
    Admin: [Role::Admin];
    /// A user who may read other users' personal data.
    #[expect(dead_code, reason = "proves the authority")]
    Auditor: [Role::Admin, Role::Auditor];
    /// A user who may operate the service.
    Operator: [Role::Admin, Role::Operator];
    /// A user who may own webhooks.
    WebhookOwner: webhooks::OWNER_ROLES;
    /// A user who may read statistics.
    #[expect(dead_code, reason = "proves the authority")]
    StatsReader: [Role::Admin, Role::Operator, Role::Auditor];
}

/// Proof that the caller may read metrics: an operator, an administrator, or, unless metrics have a listener of
/// their own, a client on this machine that does not come through a proxy.
pub(crate) struct MetricsReader;

impl FromRequestParts<HttpState> for MetricsReader {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, state: &HttpState) -> Result<Self, ApiError> {
        let has_own_listener = state.app.settings.http.metrics_listen.is_some();
        if !has_own_listener && client::is_local(&parts.extensions, &parts.uri, &parts.headers) {
            DocumentedQuery::check(parts)?;
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
        let stream =
            StreamId::new(user.row.id.stream()).map_err(|error| ApiError::Internal(error.to_string()))?;
        Ok(Self { disclosure, stream, token })
    }

    /// Checks the authorization of the same caller again.
    pub(crate) async fn reauthorize(&mut self, app: &App) -> Result<(), ApiError> {
        let user = CurrentUser::from_token(app, &self.token).await?.confirmed(app).await?;
        *self = Self::new(&user, self.token.clone())?;
        Ok(())
    }

    /// As [`EventReader::reauthorize`], with the read model at that position at least. If it does not get
    /// there in time, the check uses its current state, as any request does; returns whether it got there.
    pub(crate) async fn reauthorize_at(&mut self, app: &App, position: Position) -> Result<bool, ApiError> {
        let reached = app.services()?.user_rows.wait_for_position(position).await;
        if let Err(error) = &reached {
            tracing::debug!(%error, "authorization of an event reader checked against a lagging read model");
        }
        self.reauthorize(app).await?;
        Ok(reached.is_ok())
    }
}

impl FromRequestParts<HttpState> for EventReader {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, state: &HttpState) -> Result<Self, ApiError> {
        let user = CurrentUser::authenticate(parts, state).await?;
        let confirmed = user.confirmed(&state.app);
        let user = TimeLimit::of(&parts.extensions).read("the caller's roles", confirmed).await?;
        let token = bearer(&parts.headers)?.to_owned();
        let reader = Self::new(&user, token)?;
        DocumentedQuery::check(parts)?;
        Ok(reader)
    }
}

/// The claims of a valid token. Another node may have added its key.
pub(crate) async fn verify(app: &App, token: &str) -> Result<VerifiedToken, ApiError> {
    if app.tokens.has_unknown_key(token)
        && let Some(keys) = &app.services()?.token_keys
    {
        keys.load_unknown().await?;
    }
    Ok(app.tokens.verify(token)?)
}

/// The token of `Authorization: Bearer …`, the scheme in any case (RFC 9110 §11.1) and followed by any number
/// of spaces (RFC 6750 §2.1) or tabs.
fn bearer(headers: &HeaderMap) -> Result<&str, ApiError> {
    let given = headers.get(header::AUTHORIZATION).map(axum::http::HeaderValue::as_bytes).unwrap_or_default();
    let mut parts = given.splitn(2, |byte| matches!(byte, b' ' | b'\t'));
    if !parts.next().is_some_and(|scheme| scheme.eq_ignore_ascii_case(b"bearer")) {
        return Err(ApiError::NotAuthenticated);
    }
    let token = parts.next().unwrap_or_default().trim_ascii_start();
    str::from_utf8(token).map_err(|_| ApiError::InvalidToken)
}

#[cfg(test)]
mod tests {
    use axum::http::HeaderValue;

    use super::*;

    #[test]
    fn the_scheme_is_bearer_in_any_case_and_the_rest_is_the_token() {
        let token = |given: &str| {
            let mut headers = HeaderMap::new();
            headers.insert(header::AUTHORIZATION, HeaderValue::from_bytes(given.as_bytes()).unwrap());
            bearer(&headers).map(str::to_owned)
        };
        for (given, expected) in [
            ("Bearer x.y", "x.y"),
            ("bEARER x", "x"),
            ("Bearer", ""),
            ("Bearer ", ""),
            ("Bearer  x", "x"),
            ("Bearer\tx", "x"),
            ("Bearer \t  x", "x"),
            ("Bearer x y", "x y"),
        ] {
            assert_eq!(token(given).unwrap(), expected);
        }
        for given in ["", "Basic x", "Token x", "bearerx", "Bearer,x"] {
            assert!(matches!(token(given), Err(ApiError::NotAuthenticated)), "{given}");
        }
        assert!(matches!(bearer(&HeaderMap::new()), Err(ApiError::NotAuthenticated)));
    }
}

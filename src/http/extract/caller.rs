//! The caller and their authority: the user of the access token, in the current state of the read model, or the
//! machine token, in the current state of the log. A handler that takes an extractor of a role runs only for callers
//! who hold it.

use std::collections::BTreeSet;
use std::sync::Arc;

use axum::extract::FromRequestParts;
use axum::http::request::Parts;
use axum::http::{HeaderMap, header};
use base64::prelude::{BASE64_STANDARD, Engine};
use domain::{Principal, Role, SessionId, TokenId, UserId};
use projections::UserRow;
use store::{Position, StreamId};
use url::form_urlencoded;

use super::documented_query::DocumentedQuery;
use super::headers::MinPosition;
use crate::app::App;
use crate::cloud_event::Disclosure;
use crate::command::{Authentication, MachineToken, TokenState};
use crate::crypto::VerifiedToken;
use crate::http::api_error::{ApiError, Challenge};
use crate::http::client;
use crate::http::request_id::RequestId;
use crate::http::state::HttpState;
use crate::http::time_limit::TimeLimit;
use crate::query::SessionOwner;
use crate::webhooks;

/// An active user, authenticated by a token that is not revoked.
pub(crate) struct CurrentUser {
    pub(crate) row: Arc<UserRow>,
    /// The session that the token belongs to.
    pub(crate) session: Option<SessionId>,
    /// The version of the user's stream at the issue of the token.
    pub(crate) version: u64,
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
        let session = async {
            match access.session {
                Some(id) => Ok(services.sessions.find(id.as_uuid()).await?),
                None => Ok::<_, ApiError>(None),
            }
        };
        let row = async { Ok(services.user_rows.by_id(access.user).await?) };
        let (row, session) = tokio::try_join!(row, session)?;
        let row = row.ok_or(ApiError::UserNotFound)?;
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
        let is_open = |session| SessionOwner::from(&*row).has_open(&session, &services.store);
        if access.session.is_some() && !session.is_some_and(is_open) {
            return Err(ApiError::SessionEnded);
        }
        Ok(Self { row, session: access.session, version: access.version })
    }

    /// The caller with the roles that the log confirms. A row can be out of date without showing it, if an
    /// older one was put back into the database.
    pub(crate) async fn confirmed(mut self, app: &App) -> Result<Self, ApiError> {
        if !self.row.roles.is_empty() {
            let logged = app.services()?.users.roles(self.row.id).await?;
            Arc::make_mut(&mut self.row).roles.retain(|role| logged.contains(role));
        }
        Ok(self)
    }

    /// The caller as the actor of commands.
    pub(crate) fn actor(&self) -> String {
        self.row.id.stream()
    }
}

/// A user or a machine token, with the roles that the log confirms.
pub(crate) struct Caller {
    principal: Principal,
    roles: BTreeSet<Role>,
}

impl Caller {
    /// Authenticates the bearer of a token of either kind.
    pub(crate) async fn from_token(app: &App, token: &str) -> Result<Self, ApiError> {
        if MachineToken::is_claimed(token) {
            Ok(Self::of_token(machine_token(app, token).await?))
        } else {
            Ok(Self::of_user(&CurrentUser::from_token(app, token).await?.confirmed(app).await?))
        }
    }

    fn of_user(user: &CurrentUser) -> Self {
        Self { principal: Principal::User(user.row.id), roles: user.row.roles.iter().copied().collect() }
    }

    fn of_token(token: TokenState) -> Self {
        Self { principal: Principal::Token(token.id), roles: token.issued.roles }
    }

    async fn authenticate(parts: &Parts, state: &HttpState) -> Result<Self, ApiError> {
        let (app, limit) = (&state.app, TimeLimit::of(&parts.extensions));
        let token = bearer(&parts.headers)?;
        if !MachineToken::is_claimed(token) {
            let user = CurrentUser::authenticate(parts, state).await?;
            return Ok(Self::of_user(&limit.read("the caller's roles", user.confirmed(app)).await?));
        }
        let known = async {
            let token = machine_token_of_client(parts, app, token).await?;
            MinPosition::wait(&parts.headers, app.services()?).await?;
            record_use(state, parts, token.id);
            Ok(token)
        };
        Ok(Self::of_token(limit.read("the caller", known).await?))
    }

    pub(crate) fn has(&self, role: Role) -> bool {
        self.roles.contains(&role)
    }

    /// The caller as the actor of commands.
    pub(crate) fn actor(&self) -> String {
        self.principal.stream()
    }

    /// The user.
    ///
    /// # Errors
    /// [`ApiError::UserRequired`] if the caller is a machine token.
    pub(crate) fn user(&self) -> Result<UserId, ApiError> {
        match self.principal {
            Principal::User(id) => Ok(id),
            Principal::Token(_) => Err(ApiError::UserRequired),
        }
    }
}

/// The valid machine token that is presented.
async fn machine_token(app: &App, presented: &str) -> Result<TokenState, ApiError> {
    match app.services()?.tokens.authenticate(presented).await? {
        Authentication::Valid(token) => Ok(*token),
        Authentication::Revoked => Err(ApiError::TokenRevoked),
        Authentication::Invalid => Err(ApiError::InvalidToken),
    }
}

/// As [`machine_token`], within the limit of the client.
async fn machine_token_of_client(parts: &Parts, app: &App, presented: &str) -> Result<TokenState, ApiError> {
    if MachineToken::parse(presented).is_none() {
        // Nothing is read.
        return Err(ApiError::InvalidToken);
    }
    let client = client::limited(parts, &app.settings.http.trusted_proxies);
    let hash = app.services()?.store.keyed_hash("presented-machine-token", &[presented.as_bytes()]);
    app.limits.authenticate_token(client, &hash)?;
    let token = machine_token(app, presented).await;
    match &token {
        Ok(_) => app.limits.token_authenticated(hash, true),
        Err(error) if error.is_void_token() => app.limits.token_authenticated(hash, false),
        Err(_) => {}
    }
    token
}

/// Records the day of the use, which the answer does not depend on.
fn record_use(state: &HttpState, parts: &Parts, token: TokenId) {
    let (app, request_id) = (state.app.clone(), RequestId::of(&parts.extensions));
    if app.services().is_ok_and(|services| services.tokens.is_use_recorded(token)) {
        return;
    }
    state.app.spawn(async move {
        let Ok(services) = app.services() else { return };
        if let Err(error) = services.tokens.record_use(request_id.as_str(), token).await {
            tracing::warn!(%token, %error, "use of a machine token not recorded");
        }
    });
}

impl CurrentUser {
    async fn authenticate(parts: &Parts, state: &HttpState) -> Result<Self, ApiError> {
        let (app, token) = (&state.app, bearer(&parts.headers)?);
        if MachineToken::is_claimed(token) {
            let known = machine_token_of_client(parts, app, token);
            TimeLimit::of(&parts.extensions).read("the caller", known).await?;
            return Err(ApiError::UserRequired);
        }
        // Verify the token first, so that unauthenticated requests cannot wait for a position.
        let known = async {
            let access = verify(app, token).await?;
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

/// The caller of a logout, whose token is authentic though it may be void.
pub(crate) enum LogoutCaller {
    User(CurrentUser),
    /// The session of the token has ended; others of the user may be open.
    SessionEnded,
    /// All tokens of the user that were issued before are void.
    LoggedOut,
}

impl FromRequestParts<HttpState> for LogoutCaller {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, state: &HttpState) -> Result<Self, ApiError> {
        let caller = match CurrentUser::authenticate(parts, state).await {
            Ok(user) => Self::User(user),
            Err(ApiError::SessionEnded) => Self::SessionEnded,
            Err(ApiError::TokenRevoked | ApiError::InactiveUser | ApiError::UserNotFound) => Self::LoggedOut,
            Err(error) => return Err(error),
        };
        DocumentedQuery::check(parts)?;
        Ok(caller)
    }
}

/// Extractors of callers who hold at least one of the roles.
macro_rules! callers_with_role {
    ($($(#[$meaning:meta])* $extractor:ident: $roles:expr;)*) => {$(
        $(#[$meaning])*
        pub(crate) struct $extractor(pub(crate) Caller);

        impl FromRequestParts<HttpState> for $extractor {
            type Rejection = ApiError;

            async fn from_request_parts(parts: &mut Parts, state: &HttpState) -> Result<Self, ApiError> {
                let caller = Caller::authenticate(parts, state).await?;
                if !$roles.iter().any(|role| caller.has(*role)) {
                    return Err(ApiError::Forbidden);
                }
                DocumentedQuery::check(parts)?;
                Ok(Self(caller))
            }
        }
    )*};
}

callers_with_role! {
    /// An administrator.
    Admin: [Role::Admin];
    /// A caller who may read other users' personal data.
    #[expect(dead_code, reason = "proves the authority")]
    Auditor: [Role::Admin, Role::Auditor];
    /// A caller who may operate the service.
    Operator: [Role::Admin, Role::Operator];
    /// A caller who may own webhooks, unless it is a machine token, or administers those of others.
    WebhookOwner: webhooks::OWNER_ROLES;
    /// A caller who may read statistics.
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

/// Proof that the caller may introspect tokens. A machine token may be presented as the password of HTTP Basic too,
/// as client libraries do (RFC 6749 §2.3.1).
pub(crate) struct Introspector;

impl FromRequestParts<HttpState> for Introspector {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, state: &HttpState) -> Result<Self, ApiError> {
        let password = basic_password(&parts.headers);
        let caller = match &password {
            Some(password) if MachineToken::is_claimed(password) => {
                let known = machine_token_of_client(parts, &state.app, password);
                let known = TimeLimit::of(&parts.extensions).read("the caller", known).await;
                known.inspect(|token| record_use(state, parts, token.id)).map(Caller::of_token)
            }
            Some(_) => Err(ApiError::NotAuthenticated),
            None => Caller::authenticate(parts, state).await,
        };
        let caller = caller.map_err(|error| match error {
            ApiError::NotAuthenticated if password.is_none() => ApiError::InvalidClient(Challenge::Bearer),
            error if error.is_void_token() && password.is_none() => {
                ApiError::InvalidClient(Challenge::BearerInvalid)
            }
            error if error.is_void_token() || matches!(error, ApiError::NotAuthenticated) => {
                ApiError::InvalidClient(Challenge::Basic)
            }
            error => error,
        })?;
        if !caller.has(Role::Admin) && !caller.has(Role::Service) {
            return Err(ApiError::Forbidden);
        }
        DocumentedQuery::check(parts)?;
        Ok(Self)
    }
}

/// A caller who may read events, and whether personal values are disclosed to them.
pub(crate) struct EventReader {
    pub(crate) disclosure: Disclosure,
    /// The stream of the reader, whose events may change their authorization.
    pub(crate) stream: StreamId,
    /// The token, for authorization checks while a stream is open.
    token: String,
}

impl EventReader {
    fn new(caller: &Caller, token: String) -> Result<Self, ApiError> {
        let disclosure = if caller.has(Role::Admin) || caller.has(Role::Auditor) {
            Disclosure::Personal
        } else if caller.has(Role::Subscriber) {
            Disclosure::Redacted
        } else {
            return Err(ApiError::Forbidden);
        };
        let stream = StreamId::new(caller.actor()).map_err(|error| ApiError::Internal(error.to_string()))?;
        Ok(Self { disclosure, stream, token })
    }

    /// Checks the authorization of the same caller again.
    pub(crate) async fn reauthorize(&mut self, app: &App) -> Result<(), ApiError> {
        let caller = Caller::from_token(app, &self.token).await?;
        *self = Self::new(&caller, self.token.clone())?;
        Ok(())
    }

    /// As [`EventReader::reauthorize`], with the read model at that position at least. If it does not get
    /// there in time, the check uses its current state, as any request does; returns whether it got there.
    pub(crate) async fn reauthorize_at(&mut self, app: &App, position: Position) -> Result<bool, ApiError> {
        if MachineToken::is_claimed(&self.token) {
            // Its state is read from the log.
            return self.reauthorize(app).await.map(|()| true);
        }
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
        let caller = Caller::authenticate(parts, state).await?;
        let token = bearer(&parts.headers)?.to_owned();
        let reader = Self::new(&caller, token)?;
        DocumentedQuery::check(parts)?;
        Ok(reader)
    }
}

/// The claims of a valid token.
pub(crate) async fn verify(app: &App, token: &str) -> Result<VerifiedToken, ApiError> {
    load_unknown_key(app, token).await?;
    Ok(app.tokens.verify(token)?)
}

/// Loads the key that a token names, if it is unknown: another node may have added it.
pub(crate) async fn load_unknown_key(app: &App, token: &str) -> Result<(), ApiError> {
    if app.tokens.has_unknown_key(token)
        && let Some(keys) = &app.services()?.token_keys
    {
        keys.load_unknown().await?;
    }
    Ok(())
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

/// The password of `Authorization: Basic …` (RFC 7617), form-encoded (RFC 6749 §2.3.1) or not: neither changes what a
/// machine token consists of, but libraries also encode `_`.
fn basic_password(headers: &HeaderMap) -> Option<String> {
    let (scheme, encoded) = headers.get(header::AUTHORIZATION)?.to_str().ok()?.split_once(' ')?;
    if !scheme.eq_ignore_ascii_case("basic") {
        return None;
    }
    let credentials =
        BASE64_STANDARD.decode(encoded.trim()).ok().and_then(|octets| String::from_utf8(octets).ok());
    let password = credentials.as_deref().and_then(|text| text.split_once(':')).map(|(_, password)| password);
    let form = format!("password={}", password.unwrap_or_default());
    form_urlencoded::parse(form.as_bytes()).next().map(|(_, password)| password.into_owned())
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

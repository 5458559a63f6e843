//! The client of a request that costs a password hash: its limits before the hashing queue, and its share of
//! the queue.

use std::sync::Arc;

use axum::extract::FromRequestParts;
use axum::http::HeaderMap;
use axum::http::header::USER_AGENT;
use axum::http::request::Parts;
use domain::{Erasable, LoginClient, UserAgent};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use super::api_error::ApiError;
use super::client;
use super::request_id::RequestId;
use super::state::HttpState;
use crate::app::App;
use crate::crypto::HashSource;
use crate::limits::{ClientAddress, Policy};

/// Requests of one connection that cost a password hash and are in progress: HTTP/2 allows a client to send
/// many at once.
const CONNECTION_SHARE: u32 = 8;
const CONNECTION: Policy = Policy::concurrent("connection", CONNECTION_SHARE);
const CONNECTION_RETRY: std::time::Duration = std::time::Duration::from_secs(1);

/// The password checks of a connection, in the extensions of each of its requests.
#[derive(Clone)]
pub(super) struct ConnectionShare(Arc<Semaphore>);

impl ConnectionShare {
    pub(super) fn new() -> Self {
        Self(Arc::new(Semaphore::new(usize::try_from(CONNECTION_SHARE).unwrap_or(1))))
    }
}

/// Where a request comes from.
pub(crate) struct PasswordClient {
    address: ClientAddress,
    /// `None` if the connection is that of a trusted proxy, which many clients share.
    connection: Option<ConnectionShare>,
    pub(crate) request_id: RequestId,
    /// The same for people who look at their logins.
    pub(crate) login_client: LoginClient,
}

/// A request that its client may make now.
pub(crate) struct Admission {
    pub(crate) source: HashSource,
    _connection: Option<OwnedSemaphorePermit>,
}

impl PasswordClient {
    /// Permits one password hash.
    pub(crate) fn admit(&self, app: &App) -> Result<Admission, ApiError> {
        if !app.limits.are_enabled() {
            return Ok(Admission { source: HashSource::Unlimited, _connection: None });
        }
        let permit = self.connection.as_ref().map(|share| Arc::clone(&share.0).try_acquire_owned());
        let permit = permit.transpose().map_err(|_| CONNECTION.exceeded(CONNECTION_RETRY))?;
        app.limits.check_password(self.address)?;
        Ok(Admission { source: HashSource::Client(self.address.network()), _connection: permit })
    }

    /// Permits one use of a refresh token.
    pub(crate) fn admit_refresh(&self, app: &App) -> Result<(), ApiError> {
        Ok(app.limits.refresh(self.address)?)
    }

    /// Permits one request for a mail.
    pub(crate) fn admit_mail_request(&self, app: &App) -> Result<(), ApiError> {
        Ok(app.limits.request_mail(self.address)?)
    }

    /// Permits one use of a token from a mail.
    pub(crate) fn admit_mail_token(&self, app: &App) -> Result<(), ApiError> {
        Ok(app.limits.use_mail_token(self.address)?)
    }

    /// Permits one sign-up.
    pub(crate) fn admit_sign_up(&self, app: &App) -> Result<Admission, ApiError> {
        let admission = self.admit(app)?;
        app.limits.sign_up(self.address)?;
        Ok(admission)
    }
}

impl FromRequestParts<HttpState> for PasswordClient {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, state: &HttpState) -> Result<Self, ApiError> {
        let proxies = &state.app.settings.http.trusted_proxies;
        let address = client::address(&parts.extensions, &parts.headers, proxies);
        let is_direct = client::is_direct(&parts.extensions, proxies);
        Ok(Self {
            address: client::limited(parts, proxies),
            connection: parts.extensions.get().cloned().filter(|_| is_direct),
            request_id: RequestId::of(&parts.extensions),
            login_client: LoginClient {
                address: address.map(Erasable::Known),
                user_agent: user_agent(&parts.headers).map(Erasable::Known),
            },
        })
    }
}

fn user_agent(headers: &HeaderMap) -> Option<UserAgent> {
    UserAgent::from_untrusted(&String::from_utf8_lossy(headers.get(USER_AGENT)?.as_bytes()))
}

//! Sends requests to webhook endpoints behind the SSRF guard.
//!
//! Host names are resolved here, every address found is checked against the egress policy, and the connection
//! goes to exactly those addresses, so DNS rebinding between check and connection has no effect. Redirects
//! are not followed, proxies of the environment not used, and answers read only up to a limit.

use std::error::Error;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use domain::WebhookUrl;
use reqwest::dns::{Addrs, Name, Resolve, Resolving};
use reqwest::header::{HeaderMap, RETRY_AFTER};
use reqwest::redirect::Policy;
use tokio::sync::OwnedSemaphorePermit;
use tokio::time::timeout;
use url::Host;

use super::connection_probe::{ConnectionProbe, observe};
use super::egress_policy::EgressPolicy;
use super::lookups::{Lookups, lookup};
use super::send_error::SendError;
use crate::config::WebhookSettings;

/// Limit for resolving a name and for connecting.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
/// Limit for a whole attempt, including the answer.
const DELIVERY_TIMEOUT: Duration = Duration::from_secs(15);
/// How long an idle connection stays open for the next event.
const IDLE_TIMEOUT: Duration = Duration::from_secs(30);
/// How much of an answer is read, and discarded, so that the connection can be reused.
const MAX_BODY_READ: usize = 64 * 1024;

/// Sends requests to webhook endpoints. Cheap to clone.
#[derive(Clone)]
pub struct WebhookSender {
    policy: Arc<EgressPolicy>,
    clients: Arc<Mutex<Option<Clients>>>,
    lookups: Lookups,
}

/// Created on first use, because they load all root certificates.
#[derive(Clone)]
struct Clients {
    encrypted: ClientPair,
    plain: ClientPair,
}

#[derive(Clone)]
struct ClientPair {
    /// Keeps connections open for the next event.
    pooled: reqwest::Client,
    /// Opens a new connection for each request.
    unpooled: reqwest::Client,
}

/// The answer of a receiver.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct ReceiverAnswer {
    pub(crate) status: u16,
    /// The `Retry-After` of the receiver.
    pub(crate) retry_after: Option<Duration>,
}

impl WebhookSender {
    #[must_use]
    pub fn new(settings: &WebhookSettings) -> Self {
        let policy = Arc::new(EgressPolicy::new(&settings.allow_private));
        Self { policy, clients: Arc::default(), lookups: Lookups::default() }
    }

    /// A permit for one lookup on behalf of a waiting client; `None` if too many are running.
    pub(crate) fn try_lookup_permit(&self) -> Option<OwnedSemaphorePermit> {
        self.lookups.try_client_permit()
    }

    /// Checks a URL against the egress policy, as its host resolves now. The permit is released when the
    /// lookup ends, even if the caller has stopped waiting.
    pub(crate) async fn check(
        &self,
        url: &WebhookUrl,
        permit: Option<OwnedSemaphorePermit>,
    ) -> Result<(), SendError> {
        let is_encrypted = url.is_encrypted();
        let addresses = match url.host() {
            Some(Host::Domain(name)) => match timeout(CONNECT_TIMEOUT, lookup(name, permit)).await {
                Ok(addresses) => addresses?,
                Err(_) => return Err(SendError::Unresolved),
            },
            Some(Host::Ipv4(address)) => vec![SocketAddr::from((address, 0))],
            Some(Host::Ipv6(address)) => vec![SocketAddr::from((address, 0))],
            None => return Err(SendError::Unresolved),
        };
        match check_addresses(&self.policy, is_encrypted, &addresses) {
            Err(SendError::Forbidden)
                if !is_encrypted && check_addresses(&self.policy, true, &addresses).is_ok() =>
            {
                Err(SendError::Unencrypted)
            }
            checked => checked,
        }
    }

    /// Sends one request and waits for the answer. If the connection was one of the pool and broke before an
    /// answer, the receiver may have closed it before the request arrived: the request is then repeated at once
    /// on a new connection. Deliveries carry an id, so a receiver that did get it recognises the second one.
    pub(super) async fn send(
        &self,
        url: &WebhookUrl,
        headers: HeaderMap,
        body: Vec<u8>,
    ) -> Result<ReceiverAnswer, SendError> {
        // `GuardedResolver` is not called for a literal IP address.
        if !matches!(url.host(), Some(Host::Domain(_))) {
            self.check(url, None).await?;
        }
        let clients = self.clients()?;
        let clients = if url.is_encrypted() { clients.encrypted } else { clients.plain };
        let request = |client: &reqwest::Client| {
            client.post(url.as_url().clone()).headers(headers.clone()).body(body.clone()).send()
        };
        let (response, is_new) = observe(request(&clients.pooled)).await;
        let mut response = match response.map_err(|error| classify(&error)) {
            Err(SendError::ConnectionLost) if !is_new => {
                tracing::debug!("the receiver closed an idle connection; repeating on a new one");
                request(&clients.unpooled).await.map_err(|error| classify(&error))?
            }
            sent => sent?,
        };
        let answer = ReceiverAnswer {
            status: response.status().as_u16(),
            retry_after: retry_after(response.headers()),
        };
        let mut read = 0;
        while let Some(chunk) = response.chunk().await.map_err(|error| classify(&error))? {
            read += chunk.len();
            if read > MAX_BODY_READ {
                break;
            }
        }
        Ok(answer)
    }

    fn clients(&self) -> Result<Clients, SendError> {
        let mut clients = self.clients.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(clients) = &*clients {
            return Ok(clients.clone());
        }
        let created = Clients::new(&self.policy, &self.lookups).map_err(|error| {
            tracing::error!(
                error,
                "this node cannot deliver webhooks: no root certificates; install CA certificates"
            );
            SendError::NoRootCertificates
        })?;
        Ok(clients.insert(created).clone())
    }
}

impl Clients {
    fn new(policy: &Arc<EgressPolicy>, lookups: &Lookups) -> Result<Self, String> {
        let client = |is_encrypted, max_idle| {
            reqwest::Client::builder()
                .user_agent(concat!("aegis/", env!("CARGO_PKG_VERSION")))
                .dns_resolver(GuardedResolver {
                    policy: Arc::clone(policy),
                    lookups: lookups.clone(),
                    is_encrypted,
                })
                .https_only(is_encrypted)
                .no_proxy()
                .redirect(Policy::none())
                .referer(false)
                .connect_timeout(CONNECT_TIMEOUT)
                .timeout(DELIVERY_TIMEOUT)
                .pool_idle_timeout(IDLE_TIMEOUT)
                .pool_max_idle_per_host(max_idle)
                .connector_layer(ConnectionProbe)
                .build()
                .map_err(|error| error_with_source(&error))
        };
        let pair = |is_encrypted| {
            Ok::<_, String>(ClientPair {
                pooled: client(is_encrypted, usize::MAX)?,
                unpooled: client(is_encrypted, 0)?,
            })
        };
        Ok(Self { encrypted: pair(true)?, plain: pair(false)? })
    }
}

/// Resolves a name only if the egress policy permits all of its addresses.
struct GuardedResolver {
    policy: Arc<EgressPolicy>,
    lookups: Lookups,
    is_encrypted: bool,
}

impl Resolve for GuardedResolver {
    fn resolve(&self, name: Name) -> Resolving {
        let (policy, is_encrypted) = (Arc::clone(&self.policy), self.is_encrypted);
        let lookups = self.lookups.clone();
        Box::pin(async move {
            let permit = lookups.worker_permit().await?;
            let addresses = lookup(name.as_str(), Some(permit)).await?;
            check_addresses(&policy, is_encrypted, &addresses)?;
            let addresses: Addrs = Box::new(addresses.into_iter());
            Ok(addresses)
        })
    }
}

/// One forbidden address rejects the host: a public name has none.
fn check_addresses(
    policy: &EgressPolicy,
    is_encrypted: bool,
    addresses: &[SocketAddr],
) -> Result<(), SendError> {
    match addresses.iter().find(|address| !policy.permits(address.ip(), is_encrypted)) {
        None => Ok(()),
        Some(address) => {
            tracing::debug!(address = %address.ip(), "egress policy denies this address");
            Err(SendError::Forbidden)
        }
    }
}

fn classify(error: &reqwest::Error) -> SendError {
    let mut cause: Option<&(dyn Error + 'static)> = Some(error);
    while let Some(error) = cause {
        if let Some(ours) = error.downcast_ref::<SendError>() {
            return *ours;
        }
        cause = error.source();
    }
    // A timeout while connecting is reported by reqwest as both.
    if error.is_connect() {
        SendError::Unreachable
    } else if error.is_timeout() {
        SendError::Timeout
    } else {
        SendError::ConnectionLost
    }
}

/// `Retry-After` in seconds; the date form is ignored (RFC 9110 §10.2.3).
fn retry_after(headers: &HeaderMap) -> Option<Duration> {
    headers.get(RETRY_AFTER)?.to_str().ok()?.trim().parse().ok().map(Duration::from_secs)
}

fn error_with_source(error: &reqwest::Error) -> String {
    error.source().map_or_else(|| error.to_string(), |cause| format!("{error}: {cause}"))
}

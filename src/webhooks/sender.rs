//! Sending a request to the receiver of a webhook, and to nobody else. A name is resolved by us, every address it has is
//! judged, and the connection goes to those addresses and no other: what a name means a moment later does not matter.
//! Redirects are not followed, proxies of the environment not used, answers not read beyond a bound.

use std::error::Error;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use domain::WebhookUrl;
use reqwest::dns::{Addrs, Name, Resolve, Resolving};
use reqwest::header::{HeaderMap, RETRY_AFTER};
use reqwest::redirect::Policy;
use tokio::net::lookup_host;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::timeout;
use url::Host;

use super::egress_policy::EgressPolicy;
use crate::config::WebhookSettings;

/// How long a connection may take.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
/// How long a delivery may take, its answer included.
const DELIVERY_TIMEOUT: Duration = Duration::from_secs(15);
/// How long a connection is kept for the next event.
const IDLE_TIMEOUT: Duration = Duration::from_secs(30);
/// How many may have addresses looked at, at once, while they wait.
const MAX_CONCURRENT_LOOKUPS: usize = 32;
/// How much of an answer is read, so that its connection can be used again. Nothing of it is kept.
const MAX_BODY_READ: usize = 64 * 1024;

/// Sends requests to receivers. Cheap to clone.
#[derive(Clone)]
pub struct WebhookSender {
    policy: Arc<EgressPolicy>,
    clients: Arc<Mutex<Option<Clients>>>,
    /// For those who have an address looked at, and wait for it.
    lookup_permits: Arc<Semaphore>,
}

/// Made when the first webhook needs them: they hold the certificates of all the world.
#[derive(Clone)]
struct Clients {
    encrypted: reqwest::Client,
    plain: reqwest::Client,
}

/// What the receiver has answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct ReceiverAnswer {
    pub(crate) status: u16,
    /// How long it asks to be left alone.
    pub(crate) retry_after: Option<Duration>,
}

/// Why there is no answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum SendError {
    /// The name means nothing.
    #[error("the host does not resolve to any address")]
    Unresolved,
    /// It means something that must not be reached.
    #[error("the host resolves to an address that webhooks may not reach")]
    Forbidden,
    /// It would be readable on the way.
    #[error("https is required")]
    Unencrypted,
    /// No connection, or no trusted one.
    #[error("no connection: refused, unreachable, or its certificate is not trusted")]
    Unreachable,
    /// Too slow.
    #[error("no answer within 15 s")]
    Timeout,
    /// The connection ended before the answer did.
    #[error("the connection broke off before the answer was complete")]
    ConnectionLost,
    /// This machine cannot send at all.
    #[error("this node cannot send: it finds no certificates to trust")]
    NoRootCertificates,
}

impl WebhookSender {
    /// Sends to the public internet, and where the settings allow it.
    #[must_use]
    pub fn new(settings: &WebhookSettings) -> Self {
        let (policy, lookup_permits) =
            (Arc::new(EgressPolicy::new(&settings.allow_private)), Semaphore::new(MAX_CONCURRENT_LOOKUPS));
        Self { policy, clients: Arc::default(), lookup_permits: Arc::new(lookup_permits) }
    }

    /// Leave to have an address looked at while somebody waits; none if too many are. Names that nobody answers for hold
    /// up the threads that look them up.
    pub(crate) fn try_lookup_permit(&self) -> Option<OwnedSemaphorePermit> {
        Arc::clone(&self.lookup_permits).try_acquire_owned().ok()
    }

    /// Whether anything may be sent there, as names resolve now. The place is given up once the name was looked up, waited
    /// for or not.
    pub(crate) async fn check(
        &self,
        url: &WebhookUrl,
        permit: Option<OwnedSemaphorePermit>,
    ) -> Result<(), SendError> {
        let is_encrypted = url.is_encrypted();
        let addresses = match url.host() {
            Some(Host::Domain(name)) => {
                let name = name.to_owned();
                let resolving = tokio::spawn(async move {
                    let _permit = permit;
                    lookup(&name).await
                });
                match timeout(CONNECT_TIMEOUT, resolving).await {
                    Ok(Ok(addresses)) => addresses?,
                    Ok(Err(_)) | Err(_) => return Err(SendError::Unresolved),
                }
            }
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
            judged => judged,
        }
    }

    /// Sends a request and waits for the answer.
    pub(super) async fn send(
        &self,
        url: &WebhookUrl,
        headers: HeaderMap,
        body: Vec<u8>,
    ) -> Result<ReceiverAnswer, SendError> {
        // An address in the place of a name is never resolved.
        if !matches!(url.host(), Some(Host::Domain(_))) {
            self.check(url, None).await?;
        }
        let clients = self.clients()?;
        let client = if url.is_encrypted() { &clients.encrypted } else { &clients.plain };
        let sent = client.post(url.as_url().clone()).headers(headers).body(body).send().await;
        let mut response = sent.map_err(|error| classify(&error))?;
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
        let made = Clients::new(&self.policy).map_err(|error| {
            tracing::error!(error, "webhooks cannot be delivered from this node; install CA certificates");
            SendError::NoRootCertificates
        })?;
        Ok(clients.insert(made).clone())
    }
}

impl Clients {
    fn new(policy: &Arc<EgressPolicy>) -> Result<Self, String> {
        let client = |is_encrypted| {
            reqwest::Client::builder()
                .user_agent(concat!("aegis/", env!("CARGO_PKG_VERSION")))
                .dns_resolver(GuardedResolver { policy: Arc::clone(policy), is_encrypted })
                .https_only(is_encrypted)
                .no_proxy()
                .redirect(Policy::none())
                .referer(false)
                .connect_timeout(CONNECT_TIMEOUT)
                .timeout(DELIVERY_TIMEOUT)
                .pool_idle_timeout(IDLE_TIMEOUT)
                .build()
                .map_err(|error| error_with_source(&error))
        };
        Ok(Self { encrypted: client(true)?, plain: client(false)? })
    }
}

/// Resolves names to addresses that may be reached, all of them, or to none.
struct GuardedResolver {
    policy: Arc<EgressPolicy>,
    is_encrypted: bool,
}

impl Resolve for GuardedResolver {
    fn resolve(&self, name: Name) -> Resolving {
        let (policy, is_encrypted) = (Arc::clone(&self.policy), self.is_encrypted);
        Box::pin(async move {
            let addresses = lookup(name.as_str()).await?;
            check_addresses(&policy, is_encrypted, &addresses)?;
            let addresses: Addrs = Box::new(addresses.into_iter());
            Ok(addresses)
        })
    }
}

async fn lookup(name: &str) -> Result<Vec<SocketAddr>, SendError> {
    let found: Vec<_> = lookup_host((name, 0)).await.map_err(|_| SendError::Unresolved)?.collect();
    if found.is_empty() { Err(SendError::Unresolved) } else { Ok(found) }
}

/// One address that must not be reached is enough: a name of the public internet has none.
fn check_addresses(
    policy: &EgressPolicy,
    is_encrypted: bool,
    addresses: &[SocketAddr],
) -> Result<(), SendError> {
    match addresses.iter().find(|address| !policy.permits(address.ip(), is_encrypted)) {
        None => Ok(()),
        Some(address) => {
            tracing::debug!(address = %address.ip(), "a webhook may not reach this address");
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
    // One that ran out of time while it was being made counts as both.
    if error.is_connect() {
        SendError::Unreachable
    } else if error.is_timeout() {
        SendError::Timeout
    } else {
        SendError::ConnectionLost
    }
}

/// In seconds; a date is passed over (RFC 9110 §10.2.3).
fn retry_after(headers: &HeaderMap) -> Option<Duration> {
    headers.get(RETRY_AFTER)?.to_str().ok()?.trim().parse().ok().map(Duration::from_secs)
}

fn error_with_source(error: &reqwest::Error) -> String {
    error.source().map_or_else(|| error.to_string(), |cause| format!("{error}: {cause}"))
}

//! Accepts connections and drains them on shutdown.

use std::io;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::http::Request;
use hyper::service::{Service, service_fn};
use hyper_util::service::TowerToHyperService;
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;
use tokio::time::{Instant, MissedTickBehavior, interval, sleep, timeout};
use tokio_util::sync::CancellationToken;

use self::protocol::serve_connection;
use super::client::Peer;
use super::connections::Connections;
use super::connections::connection::Connection;
use super::connections::limits::ConnectionLimits;
use super::metrics::connections::ConnectionMetrics;
use super::password_client::ConnectionShare;
use super::router::{metrics_router, router_with_state};
use super::state::HttpState;
use crate::app::App;

mod answer;
mod protocol;
mod request_filter;
mod request_head;
mod socket;

/// How long requests in progress may take to finish on shutdown.
pub const DRAIN_TIMEOUT: Duration = Duration::from_secs(7);

/// How often connections are checked.
const CHECK_INTERVAL: Duration = Duration::from_secs(1);
/// The delay after a failed accept, which usually means that file descriptors are exhausted.
const ACCEPT_RETRY_DELAY: Duration = Duration::from_millis(100);
/// Connections to the listener of the metrics.
const MAX_METRICS_CONNECTIONS: usize = 64;

/// What a client gets that cannot be served.
const REFUSED: &[u8] = b"HTTP/1.1 503 Service Unavailable\r\n\
    Content-Type: application/json\r\nContent-Length: 102\r\n\
    Connection: close\r\nRetry-After: 1\r\n\r\n\
    {\"detail\":\"Too many connections are open; try again in a moment\",\"code\":\"busy\",\
    \"request_id\":\"unknown\"}";

/// The sockets that the service listens on.
#[derive(Debug)]
pub struct Listeners {
    pub api: TcpListener,
    /// Serves `/metrics` without authorization, and nothing else.
    pub metrics: Option<TcpListener>,
}

impl From<TcpListener> for Listeners {
    fn from(api: TcpListener) -> Self {
        Self { api, metrics: None }
    }
}

/// Serves HTTP/1 and HTTP/2 on the listeners until `shutdown` is cancelled. Then no more connections are
/// accepted, event streams end immediately, and other requests have [`DRAIN_TIMEOUT`] to finish. Connections
/// whose client takes or sends nothing are closed earlier.
///
/// # Errors
/// None at present: errors of a connection do not end the server.
pub async fn serve(
    listeners: impl Into<Listeners>,
    app: Arc<App>,
    shutdown: CancellationToken,
) -> io::Result<()> {
    let Listeners { api, metrics } = listeners.into();
    let limits = ConnectionLimits::new(app.settings.http.max_connections);
    let proxies = app.settings.http.trusted_proxies.clone();
    let state = HttpState::new(app, shutdown.clone());
    let connections = Connections::new(limits, proxies, state.connection_metrics.clone());
    let api = listen(api, connections, router_with_state(state.clone()), &shutdown);
    let metrics = async {
        let Some(listener) = metrics else { return };
        let limits = ConnectionLimits::of_one_client(MAX_METRICS_CONNECTIONS);
        let connections = Connections::new(limits, Vec::new(), ConnectionMetrics::default());
        listen(listener, connections, metrics_router(state), &shutdown).await;
    };
    tokio::join!(api, metrics);
    Ok(())
}

/// Serves the connections to one listener.
async fn listen(listener: TcpListener, all: Connections, router: Router, shutdown: &CancellationToken) {
    let all = Arc::new(all);
    let mut tasks = JoinSet::new();
    let mut checks = interval(CHECK_INTERVAL);
    checks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        let accepted = tokio::select! {
            () = shutdown.cancelled() => break,
            _ = checks.tick() => {
                all.check(Instant::now());
                while tasks.try_join_next().is_some() {}
                continue;
            }
            accepted = listener.accept() => accepted,
        };
        match accepted {
            Ok((stream, peer)) => match all.admit(peer.ip()) {
                Ok(connection) => {
                    tasks.spawn(run(stream, peer.ip(), connection, Arc::clone(&all), router.clone()));
                }
                Err(_) => refuse(&stream),
            },
            Err(error) => {
                tracing::warn!(%error, "connection not accepted; retrying");
                sleep(ACCEPT_RETRY_DELAY).await;
            }
        }
    }
    drop(listener);
    drain(&all).await;
    tasks.shutdown().await;
}

async fn drain(all: &Connections) {
    all.stop();
    let check = async {
        loop {
            sleep(CHECK_INTERVAL / 2).await;
            all.check(Instant::now());
        }
    };
    let closed = async {
        tokio::select! {
            () = all.closed() => {}
            () = check => {}
        }
    };
    if timeout(DRAIN_TIMEOUT, closed).await.is_err() {
        tracing::warn!("requests still in progress after {DRAIN_TIMEOUT:?}; closing their connections");
    }
}

async fn run(
    stream: TcpStream,
    peer: IpAddr,
    connection: Arc<Connection>,
    all: Arc<Connections>,
    router: Router,
) {
    let open = OpenConnection { connection, all };
    // Small answers must not wait for an acknowledgement. A failure only delays them.
    drop(stream.set_nodelay(true));
    let (router, share) = (TowerToHyperService::new(router), ConnectionShare::new());
    let service = service_fn(move |mut request: Request<Body>| {
        request.extensions_mut().insert(share.clone());
        router.call(request)
    });
    serve_connection(stream, Arc::clone(&open.connection), &open.all, Peer(peer), service).await;
}

/// Removed from the open connections when dropped, even by a panic.
struct OpenConnection {
    connection: Arc<Connection>,
    all: Arc<Connections>,
}

impl Drop for OpenConnection {
    fn drop(&mut self) {
        self.all.remove(&self.connection);
    }
}

/// Answers without reading a request. Whether the client receives it is up to the system; nothing waits for
/// it.
fn refuse(stream: &TcpStream) {
    drop(stream.try_read(&mut [0; 1024]));
    drop(stream.try_write(REFUSED));
}

#[cfg(test)]
mod tests;

//! Takes connections, and lets them go.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::conn::auto;
use hyper_util::server::graceful::GracefulShutdown;
use hyper_util::service::TowerToHyperService;
use tokio::net::TcpListener;
use tokio::task::JoinSet;
use tokio::time::{sleep, timeout};
use tokio_util::sync::CancellationToken;

use self::opening::Opening;
use super::router::router_until;
use crate::app::App;

mod opening;

/// How long a client may take to say what it wants.
const HEADER_DEADLINE: Duration = Duration::from_secs(10);
/// How long requests under way may take to finish once the server is to stop.
const DRAIN_BOUND: Duration = Duration::from_secs(10);
/// How often, and for how long, a silent HTTP/2 connection is asked whether it is still there.
const PING: Duration = Duration::from_secs(20);
/// How much of a request's head is kept in memory.
const MAX_HEAD: usize = 64 * 1024;
/// The pause after a connection could not be taken, for want of file descriptors as a rule.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// Answers HTTP/1 and HTTP/2 on a listener until `shutdown` is cancelled. Then no more connections are taken, endless
/// answers end at once, and requests under way have ten seconds to finish.
///
/// # Errors
/// None so far: a connection that fails concerns only itself.
pub async fn serve(listener: TcpListener, app: Arc<App>, shutdown: CancellationToken) -> io::Result<()> {
    let service = TowerToHyperService::new(router_until(app, shutdown.clone()));
    let protocol = protocol();
    let graceful = GracefulShutdown::new();
    let mut connections = JoinSet::new();
    loop {
        let accepted = tokio::select! {
            () = shutdown.cancelled() => break,
            accepted = listener.accept() => accepted,
        };
        let stream = match accepted {
            Ok((stream, _)) => stream,
            Err(error) => {
                tracing::warn!(%error, "a connection could not be taken");
                sleep(ACCEPT_PAUSE).await;
                continue;
            }
        };
        // Small answers must not wait for an acknowledgement; should it fail they are late, and that is all.
        drop(stream.set_nodelay(true));
        let io = TokioIo::new(Opening::new(stream, HEADER_DEADLINE));
        let connection = graceful.watch(protocol.serve_connection(io, service.clone()).into_owned());
        connections.spawn(async move {
            if let Err(error) = connection.await {
                tracing::debug!(error = &*error, "a connection broke off");
            }
        });
        while connections.try_join_next().is_some() {}
    }
    drop(listener);
    if timeout(DRAIN_BOUND, graceful.shutdown()).await.is_err() {
        tracing::warn!("requests were still under way after 10 s and have been cut off");
    }
    connections.shutdown().await;
    Ok(())
}

fn protocol() -> auto::Builder<TokioExecutor> {
    let mut builder = auto::Builder::new(TokioExecutor::new());
    builder.http1().timer(TokioTimer::new()).header_read_timeout(HEADER_DEADLINE).max_buf_size(MAX_HEAD);
    builder.http2().timer(TokioTimer::new()).keep_alive_interval(PING).keep_alive_timeout(PING);
    builder
}

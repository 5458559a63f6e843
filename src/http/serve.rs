//! Takes connections, and lets them go.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use axum::http::Request;
use hyper::body::Incoming;
use hyper::service::{Service, service_fn};
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::conn::auto;
use hyper_util::server::graceful::GracefulShutdown;
use hyper_util::service::TowerToHyperService;
use tokio::net::TcpListener;
use tokio::task::JoinSet;
use tokio::time::{sleep, timeout};
use tokio_io_timeout::TimeoutStream;
use tokio_util::sync::CancellationToken;

use self::first_byte_timeout::FirstByteTimeout;
use super::client::Peer;
use super::router::router_with_shutdown;
use crate::app::App;

mod first_byte_timeout;

/// How long requests under way may take to finish once the server is to stop.
pub const DRAIN_TIMEOUT: Duration = Duration::from_secs(7);

/// How long a new connection may take to begin.
const FIRST_BYTE_TIMEOUT: Duration = Duration::from_secs(10);
/// How long the head of a request may take. The library counts from the end of the answer before, so this is also how
/// long a connection may be idle: longer than the minute for which proxies keep theirs, or they would send requests
/// into connections that are being closed.
const HEADER_TIMEOUT: Duration = Duration::from_secs(75);
/// How long a client may leave what is sent to it: whoever has hung holds no connection for ever.
const WRITE_TIMEOUT: Duration = Duration::from_mins(1);
/// How often, and for how long, a silent HTTP/2 connection is asked whether it is still there.
const KEEP_ALIVE_INTERVAL: Duration = Duration::from_secs(20);
/// How much of a request's head is kept in memory.
const MAX_HEADER_BYTES: usize = 64 * 1024;
/// The pause after a connection could not be taken, for want of file descriptors as a rule.
const ACCEPT_RETRY_DELAY: Duration = Duration::from_millis(100);

/// Answers HTTP/1 and HTTP/2 on a listener until `shutdown` is cancelled. Then no more connections are taken, endless
/// answers end at once, and requests under way have [`DRAIN_TIMEOUT`] to finish.
///
/// # Errors
/// None so far: a connection that fails concerns only itself.
pub async fn serve(listener: TcpListener, app: Arc<App>, shutdown: CancellationToken) -> io::Result<()> {
    let router = TowerToHyperService::new(router_with_shutdown(app, shutdown.clone()));
    let protocol = protocol();
    let graceful = GracefulShutdown::new();
    let mut connections = JoinSet::new();
    loop {
        let accepted = tokio::select! {
            () = shutdown.cancelled() => break,
            accepted = listener.accept() => accepted,
        };
        let (stream, peer) = match accepted {
            Ok((stream, address)) => (stream, Peer(address.ip())),
            Err(error) => {
                tracing::warn!(%error, "a connection could not be taken");
                sleep(ACCEPT_RETRY_DELAY).await;
                continue;
            }
        };
        // Small answers must not wait for an acknowledgement; should it fail they are late, and that is all.
        drop(stream.set_nodelay(true));
        let mut stream = TimeoutStream::new(stream);
        stream.set_write_timeout(Some(WRITE_TIMEOUT));
        let io = TokioIo::new(FirstByteTimeout::new(Box::pin(stream), FIRST_BYTE_TIMEOUT));
        let router = router.clone();
        let service = service_fn(move |mut request: Request<Incoming>| {
            request.extensions_mut().insert(peer);
            router.call(request)
        });
        let connection = graceful.watch(protocol.serve_connection(io, service).into_owned());
        connections.spawn(async move {
            if let Err(error) = connection.await {
                tracing::debug!(error = &*error, "a connection broke off");
            }
        });
        while connections.try_join_next().is_some() {}
    }
    drop(listener);
    if timeout(DRAIN_TIMEOUT, graceful.shutdown()).await.is_err() {
        tracing::warn!("requests were still under way after {DRAIN_TIMEOUT:?} and have been cut off");
    }
    connections.shutdown().await;
    Ok(())
}

fn protocol() -> auto::Builder<TokioExecutor> {
    let mut builder = auto::Builder::new(TokioExecutor::new());
    // Who has said all they have to say may close that half and still be answered, as simple tools do.
    builder
        .http1()
        .timer(TokioTimer::new())
        .header_read_timeout(HEADER_TIMEOUT)
        .max_buf_size(MAX_HEADER_BYTES)
        .half_close(true);
    builder
        .http2()
        .timer(TokioTimer::new())
        .keep_alive_interval(KEEP_ALIVE_INTERVAL)
        .keep_alive_timeout(KEEP_ALIVE_INTERVAL);
    builder
}

#[cfg(test)]
mod tests {
    use std::convert::Infallible;

    use axum::body::Body;
    use axum::http::Response;
    use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream, duplex};

    use super::*;

    const REQUEST: &[u8] = b"GET / HTTP/1.1\r\nHost: a\r\n\r\n";

    /// A connection that is served as those of clients are.
    fn connection() -> DuplexStream {
        let (client, server) = duplex(4096);
        let service = service_fn(async |_| Ok::<_, Infallible>(Response::new(Body::empty())));
        let io = TokioIo::new(FirstByteTimeout::new(server, FIRST_BYTE_TIMEOUT));
        let connection = protocol().serve_connection(io, service).into_owned();
        tokio::spawn(async move { drop(connection.await) });
        client
    }

    /// Sends a request; whether it is answered.
    async fn is_answered(client: &mut DuplexStream) -> bool {
        let mut answer = [0; 15];
        client.write_all(REQUEST).await.is_ok()
            && client.read_exact(&mut answer).await.is_ok()
            && answer == *b"HTTP/1.1 200 OK"
    }

    /// Reads what is left of an answer.
    async fn skip(client: &mut DuplexStream) {
        let mut last = [0; 4];
        while last != *b"\r\n\r\n" {
            last.rotate_left(1);
            last[3] = client.read_u8().await.unwrap();
        }
    }

    #[tokio::test(start_paused = true)]
    async fn an_idle_connection_outlives_those_of_proxies_and_then_closes() {
        let mut client = connection();
        assert!(is_answered(&mut client).await);
        skip(&mut client).await;
        sleep(Duration::from_secs(70)).await;
        assert!(is_answered(&mut client).await);
        skip(&mut client).await;
        assert_eq!(timeout(Duration::from_secs(80), client.read(&mut [0])).await.unwrap().unwrap(), 0);
    }

    #[tokio::test(start_paused = true)]
    async fn a_silent_connection_is_closed_after_ten_seconds() {
        let mut client = connection();
        assert_eq!(timeout(Duration::from_secs(11), client.read(&mut [0])).await.unwrap().unwrap(), 0);
    }
}

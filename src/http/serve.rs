//! Accepts connections and drains them on shutdown.

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
use super::password_client::ConnectionShare;
use super::router::router_with_shutdown;
use crate::app::App;

mod first_byte_timeout;

/// How long requests in progress may take to finish on shutdown.
pub const DRAIN_TIMEOUT: Duration = Duration::from_secs(7);

/// For the first bytes of a new connection.
const FIRST_BYTE_TIMEOUT: Duration = Duration::from_secs(10);
/// For the head of a request. The library measures from the end of the previous answer, so this is also the
/// idle timeout. It exceeds the idle timeout of proxies, commonly a minute, so that they do not reuse a
/// connection that is being closed.
const HEADER_TIMEOUT: Duration = Duration::from_secs(75);
/// How long a client may leave an answer unread, so that a hanging client does not hold a connection
/// indefinitely.
const WRITE_TIMEOUT: Duration = Duration::from_mins(1);
/// The interval and the timeout of HTTP/2 pings.
const KEEP_ALIVE_INTERVAL: Duration = Duration::from_secs(20);
const MAX_HEADER_BYTES: usize = 64 * 1024;
/// The delay after a failed accept, which usually means that file descriptors are exhausted.
const ACCEPT_RETRY_DELAY: Duration = Duration::from_millis(100);

/// Serves HTTP/1 and HTTP/2 on a listener until `shutdown` is cancelled. Then no more connections are
/// accepted, event streams end immediately, and other requests have [`DRAIN_TIMEOUT`] to finish.
///
/// # Errors
/// None at present: errors of a connection do not end the server.
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
                tracing::warn!(%error, "connection not accepted; retrying");
                sleep(ACCEPT_RETRY_DELAY).await;
                continue;
            }
        };
        // Small answers must not wait for an acknowledgement. A failure only delays them.
        drop(stream.set_nodelay(true));
        let mut stream = TimeoutStream::new(stream);
        stream.set_write_timeout(Some(WRITE_TIMEOUT));
        let io = TokioIo::new(FirstByteTimeout::new(Box::pin(stream), FIRST_BYTE_TIMEOUT));
        let router = router.clone();
        let share = ConnectionShare::new();
        let service = service_fn(move |mut request: Request<Incoming>| {
            request.extensions_mut().insert(peer);
            request.extensions_mut().insert(share.clone());
            router.call(request)
        });
        let connection = graceful.watch(protocol.serve_connection(io, service).into_owned());
        connections.spawn(async move {
            if let Err(error) = connection.await {
                tracing::debug!(error = &*error, "connection ended by an error");
            }
        });
        while connections.try_join_next().is_some() {}
    }
    drop(listener);
    if timeout(DRAIN_TIMEOUT, graceful.shutdown()).await.is_err() {
        tracing::warn!("requests still in progress after {DRAIN_TIMEOUT:?}; closing their connections");
    }
    connections.shutdown().await;
    Ok(())
}

fn protocol() -> auto::Builder<TokioExecutor> {
    let mut builder = auto::Builder::new(TokioExecutor::new());
    // Simple tools close their half of the connection after the request, and still expect an answer.
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

    /// The client end of a served connection.
    fn connection() -> DuplexStream {
        let (client, server) = duplex(4096);
        let service = service_fn(async |_| Ok::<_, Infallible>(Response::new(Body::empty())));
        let io = TokioIo::new(FirstByteTimeout::new(server, FIRST_BYTE_TIMEOUT));
        let connection = protocol().serve_connection(io, service).into_owned();
        tokio::spawn(async move { drop(connection.await) });
        client
    }

    async fn is_answered(client: &mut DuplexStream) -> bool {
        let mut answer = [0; 15];
        client.write_all(REQUEST).await.is_ok()
            && client.read_exact(&mut answer).await.is_ok()
            && answer == *b"HTTP/1.1 200 OK"
    }

    /// Reads the rest of the answer.
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

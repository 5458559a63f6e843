//! Serves one connection by the HTTP library.

use std::convert::Infallible;
use std::future::Future;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use axum::body::Body;
use axum::http::{Request, Response, Version, header};
use futures::future::{Abortable, Either};
use h2::Reason;
use hyper::body::{Body as _, Incoming};
use hyper::rt::Executor;
use hyper::server::conn::{http1, http2};
use hyper::service::{Service, service_fn};
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::server::graceful::GracefulConnection;
use tokio::io::{AsyncRead, AsyncWrite};

use super::answer::AnswerBody;
use super::request_filter::MAX_HEAD;
use super::socket::{Socket, detect};
use crate::http::client::Peer;
use crate::http::connections::Connections;
use crate::http::connections::connection::{Connection, Protocol};
use crate::http::connections::exchange::Exchange;
use crate::http::metrics::connections::{ConnectionMetrics, RequestRefusal};
use crate::http::middleware::RefusedRequest;

/// Requests in progress on one HTTP/2 connection.
const MAX_STREAMS: u32 = 32;
/// What an HTTP/2 client may send before the service has read it: one body of the largest size. The protocol
/// does not allow less for a connection.
const WINDOW: u32 = 65_535;
/// Bytes of one stream that are queued for sending; what they are taken from is not copied.
const MAX_SEND_BUFFER: usize = 64 * 1024;
/// All headers of a request, with HTTP/2.
const MAX_HEADER_LIST: u32 = 32 * 1024;
/// Streams that the client has reset and the service has not noticed yet ("rapid reset").
const MAX_PENDING_RESETS: usize = 20;
/// Streams reset because of errors of the client, over the life of a connection ("made you reset").
const MAX_ERROR_RESETS: usize = 256;
/// The interval and the timeout of HTTP/2 pings, which find out whether the peer is alive at all.
const KEEP_ALIVE_INTERVAL: Duration = Duration::from_secs(20);
/// A body of unknown length is charged as one of the largest size.
const MAX_BODY: usize = 64 * 1024;

/// Serves a connection until it is closed. The router's answers are those of `service`.
pub(super) async fn serve_connection<S>(
    mut stream: impl AsyncRead + AsyncWrite + Send + Unpin + 'static,
    connection: Arc<Connection>,
    connections: &Connections,
    peer: Peer,
    service: S,
) where
    S: Service<Request<Body>, Response = Response<Body>, Error = Infallible> + Clone + Send + 'static,
    S::Future: Send + 'static,
{
    let detected = tokio::select! {
        detected = detect(&mut stream) => detected,
        () = connection.graceful.cancelled() => return,
        () = connection.abort.cancelled() => return,
    };
    // The client closed or reset the connection.
    let Ok((protocol, first)) = detected else { return };
    if first.is_empty() || !connections.admit_protocol(&connection, protocol) {
        return;
    }
    let metrics = connections.metrics.clone();
    let socket = Socket::new(stream, Arc::clone(&connection), protocol, first, metrics.clone());
    let io = TokioIo::new(socket);
    let requests = Arc::clone(&connection);
    let service = service_fn(move |request| handle(&requests, &metrics, peer, &service, request));
    match protocol {
        Protocol::Http1 => drive(http1_builder().serve_connection(io, service), &connection).await,
        Protocol::Http2 => {
            let tasks = StreamTasks(Arc::clone(&connection));
            drive(http2_builder(tasks).serve_connection(io, service), &connection).await;
        }
    }
}

/// Runs a connection until it ends by itself or has to.
async fn drive(served: impl GracefulConnection<Error = hyper::Error>, connection: &Connection) {
    let mut served = pin!(served);
    let result = tokio::select! {
        result = served.as_mut() => result,
        () = connection.abort.cancelled() => return,
        () = connection.graceful.cancelled() => {
            served.as_mut().graceful_shutdown();
            tokio::select! {
                result = served => result,
                () = connection.abort.cancelled() => return,
            }
        }
    };
    if let Err(error) = result {
        let error: &dyn std::error::Error = &error;
        tracing::debug!(error, "connection ended by an error");
    }
}

fn http1_builder() -> http1::Builder {
    let mut builder = http1::Builder::new();
    // Heads are complete when the library sees them, and `Connections` closes idle connections. Simple tools
    // close their half of the connection after the request, and still expect an answer.
    builder.header_read_timeout(None).max_buf_size(MAX_HEAD).half_close(true);
    builder
}

fn http2_builder(tasks: StreamTasks) -> http2::Builder<StreamTasks> {
    let mut builder = http2::Builder::new(tasks);
    builder
        .timer(TokioTimer::new())
        .keep_alive_interval(KEEP_ALIVE_INTERVAL)
        .keep_alive_timeout(KEEP_ALIVE_INTERVAL)
        .max_concurrent_streams(MAX_STREAMS)
        .initial_stream_window_size(WINDOW)
        .initial_connection_window_size(WINDOW)
        .max_send_buf_size(MAX_SEND_BUFFER)
        .max_header_list_size(MAX_HEADER_LIST)
        .max_pending_accept_reset_streams(MAX_PENDING_RESETS)
        .max_local_error_reset_streams(MAX_ERROR_RESETS);
    builder
}

/// Handles a request, unless the client has too many in progress.
fn handle<S>(
    connection: &Arc<Connection>,
    metrics: &ConnectionMetrics,
    peer: Peer,
    service: &S,
    request: Request<Incoming>,
) -> impl Future<Output = Result<Response<AnswerBody>, h2::Error>> + Send + use<S>
where
    S: Service<Request<Body>, Response = Response<Body>, Error = Infallible>,
    S::Future: Send + 'static,
{
    let is_http2 = request.version() == Version::HTTP_2;
    let begun = Exchange::begin(connection, body_size(&request), is_http2);
    if begun.is_none() {
        metrics.request_refused(RequestRefusal::InProgress);
        if is_http2 {
            // The client may send the request again (RFC 9113 §8.7). An answer would take memory.
            return Either::Left(std::future::ready(Err(Reason::REFUSED_STREAM.into())));
        }
    }
    let mut request = request.map(Body::new);
    request.extensions_mut().insert(peer);
    request.extensions_mut().insert(Arc::clone(connection));
    let exchange = begun.unwrap_or_else(|| {
        request.extensions_mut().insert(RefusedRequest);
        Exchange::refused(connection)
    });
    let answer = service.call(request);
    Either::Right(async move {
        let Ok(response) = answer.await;
        Ok(AnswerBody::attach(response, exchange, is_http2))
    })
}

/// How much memory the body may take.
fn body_size(request: &Request<Incoming>) -> usize {
    if request.body().is_end_stream() {
        return 0;
    }
    let length = request.headers().get(header::CONTENT_LENGTH);
    let length = length.and_then(|length| length.to_str().ok()?.parse().ok());
    length.map_or(MAX_BODY, |length: usize| length.min(MAX_BODY))
}

/// Runs the tasks of the HTTP/2 streams of a connection, each until its stream is reset.
#[derive(Clone)]
struct StreamTasks(Arc<Connection>);

impl<F: Future<Output: Send + 'static> + Send + 'static> Executor<F> for StreamTasks {
    fn execute(&self, task: F) {
        // The library spawns the task of a stream directly after the call of the service, which has
        // registered the exchange.
        match self.0.take_task() {
            Some(registration) => drop(tokio::spawn(Abortable::new(task, registration))),
            None => drop(tokio::spawn(task)),
        }
    }
}

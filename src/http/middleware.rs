//! The outermost layer, common to all requests: assigns the request id, opens the request's span, renders
//! errors, adds the common response headers, and logs and counts the answer.
//!
//! The span names the route's template, never the path, the query or a header: those may contain personal
//! data.

use std::any::Any;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use axum::body::Body;
use axum::extract::{MatchedPath, Request, State};
use axum::http::{HeaderValue, Method, StatusCode, Version, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use hyper::body::Body as _;
use tracing::field::{Empty, display};
use tracing::{Instrument, Span, error_span};

use super::api_error::ApiError;
use super::client;
use super::conditional::KnownRepresentations;
use super::connections::connection::Connection;
use super::connections::memory::{AnswerCharge, Charge, SharedAnswer};
use super::headers::REQUEST_ID;
use super::metrics::connections::RequestRefusal;
use super::metrics::requests::route;
use super::request_id::RequestId;
use super::state::HttpState;
use super::time_limit::TimeLimit;

/// The number of requests in progress bounds the memory of smaller answers.
const FREE_ANSWER: usize = 4 * 1024;

pub(crate) async fn finish_response(
    State(state): State<HttpState>,
    mut request: Request,
    next: Next,
) -> Response {
    let started = Instant::now();
    let request_id = RequestId::from_headers(request.headers(), &state.ids);
    let proxies = &state.app.settings.http.trusted_proxies;
    let client = client::address(request.extensions(), request.headers(), proxies);
    let matched_path = request.extensions().get::<MatchedPath>().cloned();
    let known = KnownRepresentations::of(request.headers());
    let (method, version, route) =
        (request.method().clone(), request.version(), route(matched_path.as_ref()));
    let span = request_span(&request_id, &method, route);
    request.extensions_mut().insert(request_id.clone());
    request.extensions_mut().insert(TimeLimit::from_now());

    let connection = request.extensions().get::<Arc<Connection>>().cloned();
    let is_refused = request.extensions().get::<RefusedRequest>().is_some();

    let mut response = if is_refused {
        ApiError::TooManyRequests.into_response()
    } else {
        next.run(request).instrument(span.clone()).await
    };

    if let Some(connection) = connection {
        response = charge(response, &connection, &state);
    }
    let error = error_of(&mut response);
    if let Some(error) = &error {
        // The rest of the body is not read, so an HTTP/1 connection cannot carry another request.
        if matches!(error, ApiError::BodyTooLarge | ApiError::BodyTooSlow) && version < Version::HTTP_2 {
            response.headers_mut().insert(header::CONNECTION, HeaderValue::from_static("close"));
        }
        let json = HeaderValue::from_static("application/json");
        response.headers_mut().insert(header::CONTENT_TYPE, json);
        *response.body_mut() = Body::from(error.render(&request_id));
    }
    known.skip_body(&method, &mut response);
    let headers = response.headers_mut();
    headers.insert(header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    headers.entry(header::CACHE_CONTROL).or_insert(HeaderValue::from_static("no-store"));
    headers.insert(REQUEST_ID, request_id.header());
    let (status, duration) = (response.status(), started.elapsed());
    state.request_metrics.record(route, &method, status, duration);
    log(&span, &method, status, duration, client, error.as_ref());
    response
}

/// Marks a request that is not handled because too many are in progress.
#[derive(Clone, Copy, Debug)]
pub(super) struct RefusedRequest;

/// Charges the memory of an answer until it is sent. If too much is unsent already, the answer is dropped:
/// the client does not read what it asks for.
fn charge(mut response: Response, connection: &Arc<Connection>, state: &HttpState) -> Response {
    let size = response.body().size_hint().exact().and_then(|size| usize::try_from(size).ok()).unwrap_or(0);
    if size <= FREE_ANSWER || response.extensions().get::<SharedAnswer>().is_some() {
        return response;
    }
    if let Some(charge) = Charge::take(connection, size) {
        response.extensions_mut().insert(AnswerCharge::new(charge));
        return response;
    }
    state.connection_metrics.request_refused(RequestRefusal::UnsentAnswers);
    ApiError::TooManyRequests.into_response()
}

/// The span is of level `error`, so that no filter on levels takes the request id from the lines of a
/// request.
fn request_span(request_id: &RequestId, method: &Method, route: &str) -> Span {
    let request_id = request_id.as_str();
    error_span!("request", request_id, %method, route, status = Empty, ms = Empty)
}

fn log(
    span: &Span,
    method: &Method,
    status: StatusCode,
    duration: Duration,
    client: Option<IpAddr>,
    error: Option<&ApiError>,
) {
    let status = status.as_u16();
    span.record("status", status);
    span.record("ms", (duration.as_secs_f64() * 1_000_000.0).round() / 1000.0);
    let client = client.map(display);
    span.in_scope(|| match error.and_then(ApiError::cause) {
        Some(cause) if status == 500 => tracing::error!(client, cause, "request failed"),
        Some(cause) => tracing::warn!(client, cause, "request failed"),
        None if method.is_safe() => tracing::debug!(client, "request completed"),
        None => tracing::info!(client, "request completed"),
    });
}

/// The answer to a request whose handler panicked.
#[expect(clippy::needless_pass_by_value, reason = "the signature that the layer demands")]
pub(crate) fn panic_response(payload: Box<dyn Any + Send + 'static>) -> Response {
    let message = payload.downcast_ref::<String>().map(String::as_str);
    let message = message.or_else(|| payload.downcast_ref::<&str>().copied()).unwrap_or("no message");
    ApiError::Internal(format!("the handler panicked: {message}")).into_response()
}

/// The error of a response, which a handler, or a library in its place, answered with.
fn error_of(response: &mut Response) -> Option<ApiError> {
    let status = response.status();
    if !status.is_client_error() && !status.is_server_error() {
        return None;
    }
    let ours = response.extensions_mut().remove::<ApiError>();
    let is_json = response.headers().get(header::CONTENT_TYPE).is_some_and(|kind| kind == "application/json");
    // A JSON body without an `ApiError` has its own format, such as that of `/health/ready`.
    ours.or_else(|| (!is_json).then(|| ApiError::from_status(status)))
}

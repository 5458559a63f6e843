//! What every answer needs: the request's id, its problem put into words, the headers that keep browsers from guessing
//! and caches from keeping, and a line in the log. The line names the client's address and the path's template, never
//! the path, a query or a header: those may say who somebody is.

use std::any::Any;
use std::net::IpAddr;
use std::time::Instant;

use axum::body::Body;
use axum::extract::{MatchedPath, Request, State};
use axum::http::{HeaderValue, Method, StatusCode, Version, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use tracing::field::display;

use super::api_error::ApiError;
use super::client;
use super::extract::RequestId;
use super::headers::REQUEST_ID;
use super::state::HttpState;
use super::time_limit::TimeLimit;

/// What the log says of a request.
struct RequestLog {
    started: Instant,
    id: RequestId,
    client: Option<IpAddr>,
    method: Method,
    path: Option<MatchedPath>,
}

/// The outermost layer.
pub(crate) async fn finish_response(
    State(state): State<HttpState>,
    mut request: Request,
    next: Next,
) -> Response {
    let log = RequestLog::of(&request, &state);
    let version = request.version();
    request.extensions_mut().insert(log.id.clone());
    request.extensions_mut().insert(TimeLimit::from_now());

    let mut response = next.run(request).await;

    let error = error_of(&mut response);
    if let Some(error) = &error {
        // What is left of the body is not waited for, and HTTP/1 has no other place for the next request.
        if matches!(error, ApiError::BodyTooLarge | ApiError::BodyTooSlow) && version < Version::HTTP_2 {
            response.headers_mut().insert(header::CONNECTION, HeaderValue::from_static("close"));
        }
        let json = HeaderValue::from_static("application/json");
        response.headers_mut().insert(header::CONTENT_TYPE, json);
        *response.body_mut() = Body::from(error.render(&log.id));
    }
    let headers = response.headers_mut();
    headers.insert(header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    headers.entry(header::CACHE_CONTROL).or_insert(HeaderValue::from_static("no-store"));
    headers.insert(REQUEST_ID, log.id.header());
    log.log(response.status(), error.as_ref());
    response
}

impl RequestLog {
    fn of(request: &Request, state: &HttpState) -> Self {
        let (extensions, headers) = (request.extensions(), request.headers());
        let proxies = &state.app.settings.http.trusted_proxies;
        Self {
            started: Instant::now(),
            id: RequestId::of(headers, &state.ids),
            client: client::address(extensions, headers, proxies),
            method: request.method().clone(),
            path: extensions.get().cloned(),
        }
    }

    fn log(&self, status: StatusCode, error: Option<&ApiError>) {
        let Self { method, started, .. } = self;
        let path = self.path.as_ref().map_or("(no such path)", MatchedPath::as_str);
        let ms = (started.elapsed().as_secs_f64() * 1_000_000.0).round() / 1000.0;
        let (status, id, client) = (status.as_u16(), self.id.as_str(), self.client.map(display));
        match error.and_then(ApiError::cause) {
            Some(cause) if status == 500 => {
                tracing::error!(%method, path, status, ms, client, request_id = id, cause, "failed");
            }
            Some(cause) => {
                tracing::warn!(%method, path, status, ms, client, request_id = id, cause, "not answered");
            }
            None if method.is_safe() => {
                tracing::debug!(%method, path, status, ms, client, request_id = id, "answered");
            }
            None => tracing::info!(%method, path, status, ms, client, request_id = id, "answered"),
        }
    }
}

/// The answer to a request whose handler panicked.
#[expect(clippy::needless_pass_by_value, reason = "the signature that the layer asks for")]
pub(crate) fn panic_response(payload: Box<dyn Any + Send + 'static>) -> Response {
    let message = payload.downcast_ref::<String>().map(String::as_str);
    let message = message.or_else(|| payload.downcast_ref::<&str>().copied()).unwrap_or("no message");
    ApiError::Internal { cause: format!("the handler panicked: {message}") }.into_response()
}

/// The problem that a handler, or in its place a library, answered with.
fn error_of(response: &mut Response) -> Option<ApiError> {
    let status = response.status();
    if !status.is_client_error() && !status.is_server_error() {
        return None;
    }
    let ours = response.extensions_mut().remove::<ApiError>();
    let is_json = response.headers().get(header::CONTENT_TYPE).is_some_and(|kind| kind == "application/json");
    // A JSON body without a problem is an error answer of its own kind, such as that of `/health/ready`.
    ours.or_else(|| (!is_json).then(|| ApiError::from_status(status)))
}

//! Request bodies: size and time limits, and JSON objects.

use std::time::Duration;

use axum::body::{BodyDataStream, Bytes};
use axum::extract::{FromRequest, Request};
use axum::http::{HeaderMap, header};
use futures::StreamExt;
use serde_json::Value;
use tokio::time::timeout;

use super::field_reader::FieldReader;
use super::json;
use crate::config::Settings;
use crate::http::api_error::{ApiError, Loc, ValidationError};
use crate::http::state::HttpState;

const MAX_BODY: usize = 64 * 1024;
const BODY_TIMEOUT: Duration = Duration::from_secs(30);
/// How much of an oversized body is read and discarded, and for how long.
const MAX_DRAINED: usize = 1024 * 1024;
const BODY_DRAIN_TIMEOUT: Duration = Duration::from_secs(2);

/// A body that is parsed from the fields of a JSON object.
pub(crate) trait FromFields: Sized {
    /// Reads the fields in the order in which their errors are reported. `None` only after an error.
    fn from_fields(fields: &mut FieldReader, settings: &Settings) -> Option<Self>;
}

/// A required JSON object.
pub(crate) struct JsonBody<T>(pub(crate) T);

impl<T: FromFields> FromRequest<HttpState> for JsonBody<T> {
    type Rejection = ApiError;

    async fn from_request(request: Request, state: &HttpState) -> Result<Self, ApiError> {
        match json_body(request).await? {
            None => Err(ApiError::invalid(ValidationError::missing(Loc::Body, Value::Null))),
            Some(body) => parse_object(body, &state.app.settings).map(Self),
        }
    }
}

/// A JSON object that may be missing or `null`.
pub(crate) struct OptionalJsonBody<T>(pub(crate) Option<T>);

impl<T: FromFields> FromRequest<HttpState> for OptionalJsonBody<T> {
    type Rejection = ApiError;

    async fn from_request(request: Request, state: &HttpState) -> Result<Self, ApiError> {
        match json_body(request).await? {
            None | Some(Value::Null) => Ok(Self(None)),
            Some(body) => parse_object(body, &state.app.settings).map(Some).map(Self),
        }
    }
}

/// No body is expected; one that is sent is ignored.
pub(crate) struct NoBody;

impl FromRequest<HttpState> for NoBody {
    type Rejection = ApiError;

    async fn from_request(_: Request, _: &HttpState) -> Result<Self, ApiError> {
        Ok(Self)
    }
}

fn parse_object<T: FromFields>(body: Value, settings: &Settings) -> Result<T, ApiError> {
    let Value::Object(body) = body else { return Err(ApiError::invalid(ValidationError::not_an_object())) };
    let mut fields = FieldReader::new(body);
    let read = T::from_fields(&mut fields, settings);
    fields.finish(read)
}

/// The body as JSON; `None` if it is empty. A body of another content type is rejected as not an object.
async fn json_body(request: Request) -> Result<Option<Value>, ApiError> {
    let is_json = is_json(request.headers());
    let body = read_body(request).await?;
    match (body.is_empty(), is_json) {
        (true, _) => Ok(None),
        (false, true) => json::parse(&body).map(Some),
        (false, false) => Err(ApiError::invalid(ValidationError::not_an_object())),
    }
}

/// Reads the whole body, within [`MAX_BODY`] and [`BODY_TIMEOUT`].
pub(crate) async fn read_body(request: Request) -> Result<Bytes, ApiError> {
    let announced =
        request.headers().get(header::CONTENT_LENGTH).and_then(|length| length.to_str().ok()?.parse().ok());
    let fits = announced.is_none_or(|length: usize| length <= MAX_BODY);
    // A client that sends `Expect: 100-continue` has not sent the body yet.
    let asks_first = request.headers().contains_key(header::EXPECT);
    let mut chunks = request.into_body().into_data_stream();
    let read = async { if fits { collect(&mut chunks).await } else { Err(ApiError::BodyTooLarge) } };
    let body = timeout(BODY_TIMEOUT, read).await.unwrap_or(Err(ApiError::BodyTooSlow));
    if matches!(body, Err(ApiError::BodyTooLarge)) && !asks_first {
        // A client that is still sending would see a reset connection instead of the answer.
        drop(timeout(BODY_DRAIN_TIMEOUT, drain(&mut chunks)).await);
    }
    body
}

async fn collect(chunks: &mut BodyDataStream) -> Result<Bytes, ApiError> {
    let mut body = Bytes::new();
    let mut joined = Vec::new();
    while let Some(chunk) = chunks.next().await {
        let chunk = chunk.map_err(|_| ApiError::UnreadableBody("The request body broke off".to_owned()))?;
        if body.len() + joined.len() + chunk.len() > MAX_BODY {
            return Err(ApiError::BodyTooLarge);
        }
        // Nearly every body arrives as one chunk, which is not copied.
        if body.is_empty() && joined.is_empty() {
            body = chunk;
        } else {
            joined.extend_from_slice(&std::mem::take(&mut body));
            joined.extend_from_slice(&chunk);
        }
    }
    Ok(if joined.is_empty() { body } else { joined.into() })
}

async fn drain(chunks: &mut BodyDataStream) {
    let mut drained = 0;
    while let Some(Ok(chunk)) = chunks.next().await {
        drained += chunk.len();
        if drained > MAX_DRAINED {
            return;
        }
    }
}

/// `application/json` or `application/…+json`, whatever its parameters: JSON is in UTF-8 (RFC 8259 §8.1).
fn is_json(headers: &HeaderMap) -> bool {
    let kind = headers.get(header::CONTENT_TYPE).and_then(|kind| kind.to_str().ok()).unwrap_or_default();
    let essence = kind.split(';').next().unwrap_or_default().trim().to_ascii_lowercase();
    essence
        .strip_prefix("application/")
        .is_some_and(|subtype| subtype == "json" || subtype.ends_with("+json"))
}

#[cfg(test)]
mod tests {
    use axum::body::Body;
    use axum::http::HeaderValue;

    use super::*;

    #[test]
    fn json_content_types() {
        let is_json = |kind: &'static str| {
            is_json(&HeaderMap::from_iter([(header::CONTENT_TYPE, HeaderValue::from_static(kind))]))
        };
        for kind in [
            "application/json",
            "APPLICATION/JSON; charset=latin1",
            "application/ld+json",
            "application/+json",
        ] {
            assert!(is_json(kind), "{kind}");
        }
        for kind in ["", "text/json", "application/jsonx", "application/x-www-form-urlencoded", "garbage"] {
            assert!(!is_json(kind), "{kind}");
        }
    }

    fn chunked(chunk: &'static str, count: usize) -> Request {
        let chunks = futures::stream::iter((0..count).map(move |_| Ok::<_, std::io::Error>(chunk)));
        Request::new(Body::from_stream(chunks))
    }

    #[tokio::test]
    async fn a_chunked_body_is_joined_and_bounded() {
        assert_eq!(read_body(chunked("ab", 3)).await.unwrap(), "ababab");
        assert_eq!(read_body(chunked("", 3)).await.unwrap(), "");
        assert_eq!(read_body(chunked("0123456789abcdef", 4096)).await.unwrap().len(), MAX_BODY);
        assert!(matches!(read_body(chunked("0123456789abcdef", 4097)).await, Err(ApiError::BodyTooLarge)));
    }
}

//! Bodies: read within bounds, judged field by field.

use std::time::Duration;

use axum::body::{BodyDataStream, Bytes};
use axum::extract::{FromRequest, Request};
use axum::http::{HeaderMap, header};
use futures::StreamExt;
use serde_json::Value;
use tokio::time::timeout;

use super::Fields;
use super::json;
use crate::config::Settings;
use crate::http::problem::{Fault, Loc, Problem};
use crate::http::state::HttpState;

/// The largest body.
const LIMIT: usize = 64 * 1024;
/// The longest time a body may take to arrive.
const DEADLINE: Duration = Duration::from_secs(30);
/// How much of a body that is too large is read all the same, and for how long.
const MAX_DRAINED: usize = 1024 * 1024;
const DRAIN_BOUND: Duration = Duration::from_secs(2);

/// A body that says what it consists of.
pub(crate) trait Validated: Sized {
    /// Takes the fields out, in the order in which their faults are to be told. `None` only after a fault.
    fn read(fields: &mut Fields, settings: &Settings) -> Option<Self>;
}

/// A JSON object that has to be there.
pub(crate) struct Valid<T>(pub(crate) T);

impl<T: Validated> FromRequest<HttpState> for Valid<T> {
    type Rejection = Problem;

    async fn from_request(request: Request, state: &HttpState) -> Result<Self, Problem> {
        match json_body(request).await? {
            None => Err(Problem::invalid(Fault::missing(Loc::Body, Value::Null))),
            Some(body) => validated(body, &state.app.settings).map(Self),
        }
    }
}

/// A JSON object that may be left out, or be `null`.
pub(crate) struct MaybeValid<T>(pub(crate) Option<T>);

impl<T: Validated> FromRequest<HttpState> for MaybeValid<T> {
    type Rejection = Problem;

    async fn from_request(request: Request, state: &HttpState) -> Result<Self, Problem> {
        match json_body(request).await? {
            None | Some(Value::Null) => Ok(Self(None)),
            Some(body) => validated(body, &state.app.settings).map(Some).map(Self),
        }
    }
}

/// A request that says everything without a body; one that comes all the same says nothing.
pub(crate) struct NoBody;

impl FromRequest<HttpState> for NoBody {
    type Rejection = Problem;

    async fn from_request(_: Request, _: &HttpState) -> Result<Self, Problem> {
        Ok(Self)
    }
}

fn validated<T: Validated>(body: Value, settings: &Settings) -> Result<T, Problem> {
    let Value::Object(body) = body else { return Err(Problem::invalid(Fault::no_object())) };
    let mut fields = Fields::new(body);
    let read = T::read(&mut fields, settings);
    fields.finish(read)
}

/// The body as JSON; `None` if it is empty. One of another content type is no object, whatever it holds.
async fn json_body(request: Request) -> Result<Option<Value>, Problem> {
    let is_json = is_json(request.headers());
    let body = read_body(request).await?;
    match (body.is_empty(), is_json) {
        (true, _) => Ok(None),
        (false, true) => json::parse(&body).map(Some),
        (false, false) => Err(Problem::invalid(Fault::no_object())),
    }
}

/// Reads a body whole, within [`LIMIT`] and [`DEADLINE`].
pub(crate) async fn read_body(request: Request) -> Result<Bytes, Problem> {
    let announced =
        request.headers().get(header::CONTENT_LENGTH).and_then(|length| length.to_str().ok()?.parse().ok());
    let fits = announced.is_none_or(|length: usize| length <= LIMIT);
    // Who asks first has sent nothing yet, and will not.
    let asks_first = request.headers().contains_key(header::EXPECT);
    let mut chunks = request.into_body().into_data_stream();
    let read = async { if fits { collect(&mut chunks).await } else { Err(Problem::BodyTooLarge) } };
    let body = timeout(DEADLINE, read).await.unwrap_or(Err(Problem::BodyTooSlow));
    if matches!(body, Err(Problem::BodyTooLarge)) && !asks_first {
        // Who is still sending would take a closed connection for the answer.
        drop(timeout(DRAIN_BOUND, drain(&mut chunks)).await);
    }
    body
}

async fn collect(chunks: &mut BodyDataStream) -> Result<Bytes, Problem> {
    let mut body = Bytes::new();
    let mut joined = Vec::new();
    while let Some(chunk) = chunks.next().await {
        let chunk = chunk.map_err(|_| Problem::UnreadableBody("The request body broke off".to_owned()))?;
        if body.len() + joined.len() + chunk.len() > LIMIT {
            return Err(Problem::BodyTooLarge);
        }
        // Nearly every body comes in one piece, which needs no copy.
        if body.is_empty() && joined.is_empty() {
            body = chunk;
        } else {
            joined.extend_from_slice(&std::mem::take(&mut body));
            joined.extend_from_slice(&chunk);
        }
    }
    Ok(if joined.is_empty() { body } else { joined.into() })
}

/// Reads on, within bounds, and keeps nothing.
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
    fn json_has_many_content_types() {
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
    async fn a_body_in_pieces_is_put_together_and_bounded_all_the_same() {
        assert_eq!(read_body(chunked("ab", 3)).await.unwrap(), "ababab");
        assert_eq!(read_body(chunked("", 3)).await.unwrap(), "");
        assert_eq!(read_body(chunked("0123456789abcdef", 4096)).await.unwrap().len(), LIMIT);
        assert!(matches!(read_body(chunked("0123456789abcdef", 4097)).await, Err(Problem::BodyTooLarge)));
    }
}

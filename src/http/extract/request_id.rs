//! The id by which a request is found in the logs.

use std::convert::Infallible;

use axum::extract::FromRequestParts;
use axum::http::request::Parts;
use axum::http::{HeaderMap, HeaderValue};
use store::Ambient;
use uuid::Uuid;

use crate::http::headers::REQUEST_ID;

const MAX_LENGTH: usize = 128;

/// The caller's own id if it is a sane one, else a fresh one.
#[derive(Clone)]
pub(crate) struct RequestId(HeaderValue);

impl RequestId {
    pub(crate) fn of(headers: &HeaderMap, ambient: &Ambient) -> Self {
        headers
            .get(REQUEST_ID)
            .filter(|id| is_sane(id))
            .map_or_else(|| Self::fresh(ambient), |id| Self(id.clone()))
    }

    fn fresh(ambient: &Ambient) -> Self {
        let mut buffer = Uuid::encode_buffer();
        let id: &str = ambient.uuid().hyphenated().encode_lower(&mut buffer);
        Self(HeaderValue::from_str(id).unwrap_or_else(|_| Self::unknown()))
    }

    fn unknown() -> HeaderValue {
        HeaderValue::from_static("unknown")
    }

    pub(crate) fn as_str(&self) -> &str {
        self.0.to_str().unwrap_or("unknown")
    }

    pub(crate) fn header(&self) -> HeaderValue {
        self.0.clone()
    }
}

/// Nothing that could break a log line or a header of somebody else's.
fn is_sane(id: &HeaderValue) -> bool {
    let id = id.as_bytes();
    (1..=MAX_LENGTH).contains(&id.len()) && id.iter().all(|b| b.is_ascii_alphanumeric() || b"._-".contains(b))
}

impl<S: Sync> FromRequestParts<S> for RequestId {
    type Rejection = Infallible;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Infallible> {
        Ok(parts.extensions.get::<Self>().cloned().unwrap_or_else(|| Self(Self::unknown())))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn id(given: &str) -> String {
        let mut headers = HeaderMap::new();
        headers.insert(REQUEST_ID, HeaderValue::from_str(given).unwrap());
        RequestId::of(&headers, &Ambient::system()).as_str().to_owned()
    }

    #[test]
    fn a_sane_id_is_taken_over_and_any_other_replaced() {
        assert_eq!(id("abc-1._X"), "abc-1._X");
        assert_eq!(id(&"a".repeat(128)), "a".repeat(128));
        for bad in ["", "a b", "a\tb", "a/b", "a\"b", &"a".repeat(129)] {
            assert_eq!(id(bad).len(), 36, "{bad:?}");
        }
    }
}

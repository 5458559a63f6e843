//! Refuses requests that were not sent by a page of this origin (CSRF).

use axum::extract::FromRequestParts;
use axum::http::request::Parts;
use axum::http::uri::Authority;
use axum::http::{HeaderMap, HeaderName, Uri, header};

use crate::http::api_error::ApiError;
use crate::http::state::HttpState;

const FETCH_SITE: HeaderName = HeaderName::from_static("sec-fetch-site");

/// Proof that the browser says so: by `Sec-Fetch-Site`, which pages cannot set, or, where that is not sent because the
/// page came without TLS, by the `Origin`, whose host is that of the request.
pub(super) struct SameOrigin;

impl FromRequestParts<HttpState> for SameOrigin {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, _: &HttpState) -> Result<Self, ApiError> {
        if is_same_origin(&parts.uri, &parts.headers) { Ok(Self) } else { Err(ApiError::CrossOrigin) }
    }
}

fn is_same_origin(uri: &Uri, headers: &HeaderMap) -> bool {
    if let Some(site) = headers.get(FETCH_SITE) {
        return site == "same-origin";
    }
    let origin = headers.get(header::ORIGIN).and_then(|origin| origin.to_str().ok());
    let origin = origin.and_then(|origin| origin.parse::<Uri>().ok());
    let host = headers.get(header::HOST).and_then(|host| host.to_str().ok());
    let requested = uri.authority().map(Authority::as_str).or(host);
    let sender = origin.as_ref().and_then(Uri::authority).map(Authority::as_str);
    sender.is_some() && sender == requested
}

#[cfg(test)]
mod tests {
    use axum::http::HeaderValue;

    use super::*;

    #[track_caller]
    fn same(headers: &[(&'static str, &'static str)]) -> bool {
        let headers = headers
            .iter()
            .map(|(name, value)| (HeaderName::from_static(name), HeaderValue::from_static(value)));
        is_same_origin(&Uri::from_static("/console/login"), &headers.collect())
    }

    #[test]
    fn the_browser_must_say_that_the_page_is_of_this_origin() {
        let host = ("host", "id.example.org:8000");
        assert!(same(&[host, ("sec-fetch-site", "same-origin")]));
        assert!(same(&[host, ("origin", "http://id.example.org:8000")]));
        // A proxy may rewrite the host; `Sec-Fetch-Site` comes first.
        assert!(same(&[
            ("host", "backend"),
            ("origin", "https://id.example.org"),
            ("sec-fetch-site", "same-origin")
        ]));
        for refused in [
            &[host][..],
            &[host, ("origin", "null")],
            &[host, ("origin", "https://evil.example")],
            &[host, ("origin", "http://id.example.org")],
            &[host, ("origin", "http://id.example.org:8000"), ("sec-fetch-site", "cross-site")],
            &[host, ("origin", "http://id.example.org:8000"), ("sec-fetch-site", "same-site")],
            &[host, ("sec-fetch-site", "none")],
        ] {
            assert!(!same(refused), "{refused:?}");
        }
    }
}

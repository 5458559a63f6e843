//! The cookie of the console, which holds the refresh token of its session. Scripts cannot read it, pages of other
//! sites cannot send it, and browsers send it below `/console` only.

use axum::extract::FromRequestParts;
use axum::http::request::Parts;
use axum::http::{HeaderMap, HeaderName, HeaderValue, header};

use super::page::PATH;
use crate::http::api_error::ApiError;
use crate::http::client;
use crate::http::state::HttpState;

/// Browsers accept a name with this prefix only with `Secure`, so that no page without TLS can plant the cookie.
const SECURE_NAME: &str = "__Secure-aegis-console";
/// On this machine itself, without TLS.
const LOOPBACK_NAME: &str = "aegis-console";

/// How the cookie is set for the client of a request.
#[derive(Clone, Copy)]
pub(super) struct CookieScope {
    /// The page was loaded from this machine itself, not through a proxy.
    is_loopback: bool,
}

impl CookieScope {
    fn name(self) -> &'static str {
        if self.is_loopback { LOOPBACK_NAME } else { SECURE_NAME }
    }

    /// Sets the cookie for as long as the session stays open.
    pub(super) fn set(self, refresh_token: &str, seconds: i64) -> [(HeaderName, HeaderValue); 1] {
        self.header(refresh_token, seconds)
    }

    pub(super) fn clear(self) -> [(HeaderName, HeaderValue); 1] {
        self.header("", 0)
    }

    fn header(self, value: &str, seconds: i64) -> [(HeaderName, HeaderValue); 1] {
        let secure = if self.is_loopback { "" } else { "; Secure" };
        let cookie = format!(
            "{}={value}; Path={PATH}; Max-Age={seconds}; HttpOnly; SameSite=Strict{secure}",
            self.name()
        );
        // Refresh tokens consist of visible ASCII characters.
        let mut header = HeaderValue::from_str(&cookie).unwrap_or(HeaderValue::from_static(""));
        header.set_sensitive(true);
        [(header::SET_COOKIE, header)]
    }

    /// The refresh token that the client has sent.
    pub(super) fn read(self, headers: &HeaderMap) -> Option<String> {
        let lines = headers.get_all(header::COOKIE).iter().filter_map(|line| line.to_str().ok());
        let mut pairs = lines.flat_map(|line| line.split(';')).filter_map(|pair| pair.trim().split_once('='));
        pairs.find(|(name, _)| *name == self.name()).map(|(_, value)| value.to_owned())
    }
}

impl FromRequestParts<HttpState> for CookieScope {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, _: &HttpState) -> Result<Self, ApiError> {
        Ok(Self { is_loopback: client::is_local(&parts.extensions, &parts.uri, &parts.headers) })
    }
}

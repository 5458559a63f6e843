//! The URL to which a webhook delivers events.

use std::fmt;

use url::{Host, Url};

/// Maximum length of a webhook URL in characters.
pub const MAX_WEBHOOK_URL_LENGTH: usize = 2_048;

/// An absolute `https` or `http` URL without credentials and without a fragment.
///
/// Its path and query may contain a secret of the receiver, so `Debug` prints the host alone and events store
/// it encrypted. The egress policy (SSRF guard) is not applied here, since it depends on the addresses to
/// which the host resolves.
#[derive(Clone, PartialEq, Eq)]
pub struct WebhookUrl(Url);

/// Why a text is not a webhook URL.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum WebhookUrlError {
    /// It is longer than the maximum.
    #[error("the address has at most {max} characters")]
    TooLong {
        /// Maximum number of characters ([`MAX_WEBHOOK_URL_LENGTH`]).
        max: usize,
    },
    /// It is not an absolute URL of these schemes.
    #[error("the address has to be an absolute https URL, such as https://example.com/events")]
    NotAUrl,
    /// It contains a user name or a password.
    #[error("the address cannot carry a user name or password; every delivery is signed instead")]
    Credentials,
    /// It has a fragment.
    #[error("the address cannot have a fragment (#…): it would not be sent")]
    Fragment,
}

impl WebhookUrl {
    /// Parses and normalises a URL (WHATWG URL).
    ///
    /// # Errors
    /// [`WebhookUrlError`] for the first violated rule.
    pub fn parse(text: &str) -> Result<Self, WebhookUrlError> {
        let too_long = WebhookUrlError::TooLong { max: MAX_WEBHOOK_URL_LENGTH };
        if text.len() > 4 * MAX_WEBHOOK_URL_LENGTH {
            return Err(too_long);
        }
        let url = Url::parse(text).map_err(|_| WebhookUrlError::NotAUrl)?;
        if !matches!(url.scheme(), "https" | "http") || !url.has_host() {
            return Err(WebhookUrlError::NotAUrl);
        }
        if !url.username().is_empty() || url.password().is_some() {
            return Err(WebhookUrlError::Credentials);
        }
        if url.fragment().is_some() {
            return Err(WebhookUrlError::Fragment);
        }
        // The limit applies to the normalised URL, in which an escaped byte counts as three characters.
        if url.as_str().len() > MAX_WEBHOOK_URL_LENGTH {
            return Err(too_long);
        }
        Ok(Self(url))
    }

    /// A stored URL; it was validated when it was written.
    pub(crate) fn from_stored(text: &str) -> Result<Self, WebhookUrlError> {
        Url::parse(text).map(Self).map_err(|_| WebhookUrlError::NotAUrl)
    }

    /// The normalised URL.
    #[must_use]
    pub fn as_str(&self) -> &str {
        self.0.as_str()
    }

    /// The parsed URL.
    #[must_use]
    pub const fn as_url(&self) -> &Url {
        &self.0
    }

    /// Whether deliveries are encrypted (https).
    #[must_use]
    pub fn is_encrypted(&self) -> bool {
        self.0.scheme() == "https"
    }

    /// The host; always present in a valid URL.
    #[must_use]
    pub fn host(&self) -> Option<Host<&str>> {
        self.0.host()
    }

    /// The port, or the default port of the scheme.
    #[must_use]
    pub fn port(&self) -> u16 {
        self.0.port_or_known_default().unwrap_or_default()
    }
}

impl fmt::Debug for WebhookUrl {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "WebhookUrl({})", self.0.host_str().unwrap_or_default())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn error(text: &str) -> WebhookUrlError {
        WebhookUrl::parse(text).err().unwrap()
    }

    #[test]
    fn url_is_normalised() {
        let url = WebhookUrl::parse("HTTPS://Example.COM:443/a/../b?token=1").unwrap();
        assert_eq!(url.as_str(), "https://example.com/b?token=1");
        assert_eq!(format!("{url:?}"), "WebhookUrl(example.com)");
        assert!(url.is_encrypted());
        assert_eq!(url.port(), 443);
    }

    #[test]
    fn numeric_hosts_become_ip_addresses() {
        for text in ["http://2130706433/", "http://0x7f.1/", "http://127.1/"] {
            let url = WebhookUrl::parse(text).unwrap();
            assert_eq!(url.host(), Some(Host::Ipv4([127, 0, 0, 1].into())), "{text}");
        }
    }

    #[test]
    fn invalid_urls_are_rejected() {
        for text in
            ["", "example.com", "/events", "ftp://example.com/", "https://", "file:///etc/passwd", "data:,a"]
        {
            assert_eq!(error(text), WebhookUrlError::NotAUrl, "{text}");
        }
        assert_eq!(error("https://ada:secret@example.com/"), WebhookUrlError::Credentials);
        assert_eq!(error("https://example.com/#top"), WebhookUrlError::Fragment);
        let long = format!("https://example.com/{}", "a".repeat(MAX_WEBHOOK_URL_LENGTH));
        let escaped = format!("https://example.com/{}", "é".repeat(MAX_WEBHOOK_URL_LENGTH / 6));
        let with_slash = format!("https://example.com?{}", "a".repeat(MAX_WEBHOOK_URL_LENGTH - 20));
        for text in [long, escaped, with_slash] {
            assert_eq!(error(&text), WebhookUrlError::TooLong { max: MAX_WEBHOOK_URL_LENGTH });
        }
    }

    #[test]
    fn accepted_url_round_trips() {
        for text in
            ["https://example.com?a", &format!("https://example.com/{}", "é".repeat(300)), "http://[::1]:80/"]
        {
            let url = WebhookUrl::parse(text).unwrap();
            assert_eq!(WebhookUrl::from_stored(url.as_str()), Ok(url));
        }
    }
}

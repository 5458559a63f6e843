//! Where a webhook sends events.

use std::fmt;

use url::{Host, Url};

/// Most characters the address of a webhook may have.
pub const MAX_WEBHOOK_URL_LENGTH: usize = 2_048;

/// An absolute `https` or `http` URL without credentials and without a fragment.
///
/// Its path and query may hold a secret of the receiver, so `Debug` shows the host alone, and events hold it
/// sealed. Whether the egress policy (SSRF guard) allows it is not decided here: that depends on what its
/// host resolves to.
#[derive(Clone, PartialEq, Eq)]
pub struct WebhookUrl(Url);

/// Why a text is not the address of a webhook.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum WebhookUrlError {
    /// It is longer than it may be.
    #[error("the address has at most {max} characters")]
    TooLong {
        /// Most characters ([`MAX_WEBHOOK_URL_LENGTH`]).
        max: usize,
    },
    /// It is no absolute URL of these schemes.
    #[error("the address has to be an absolute https URL, such as https://example.com/events")]
    NotAUrl,
    /// It carries a user name or a password.
    #[error("the address cannot carry a user name or password; every delivery is signed instead")]
    Credentials,
    /// It carries a fragment.
    #[error("the address cannot have a fragment (#…): it would not be sent")]
    Fragment,
}

impl WebhookUrl {
    /// Reads an address as its owner wrote it (WHATWG URL).
    ///
    /// # Errors
    /// [`WebhookUrlError`].
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
        // As it is kept and sent: what is escaped there counts threefold.
        if url.as_str().len() > MAX_WEBHOOK_URL_LENGTH {
            return Err(too_long);
        }
        Ok(Self(url))
    }

    /// A URL from an event: validated when it was written, and not again.
    pub(crate) fn from_stored(text: &str) -> Result<Self, WebhookUrlError> {
        Url::parse(text).map(Self).map_err(|_| WebhookUrlError::NotAUrl)
    }

    /// The address, normalised.
    #[must_use]
    pub fn as_str(&self) -> &str {
        self.0.as_str()
    }

    /// The parsed address.
    #[must_use]
    pub const fn as_url(&self) -> &Url {
        &self.0
    }

    /// Whether what is sent there is encrypted.
    #[must_use]
    pub fn is_encrypted(&self) -> bool {
        self.0.scheme() == "https"
    }

    /// The host, which every URL of these schemes has.
    #[must_use]
    pub fn host(&self) -> Option<Host<&str>> {
        self.0.host()
    }

    /// The port, given or usual.
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
    fn fault(text: &str) -> WebhookUrlError {
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
            assert_eq!(fault(text), WebhookUrlError::NotAUrl, "{text}");
        }
        assert_eq!(fault("https://ada:secret@example.com/"), WebhookUrlError::Credentials);
        assert_eq!(fault("https://example.com/#top"), WebhookUrlError::Fragment);
        let long = format!("https://example.com/{}", "a".repeat(MAX_WEBHOOK_URL_LENGTH));
        let escaped = format!("https://example.com/{}", "é".repeat(MAX_WEBHOOK_URL_LENGTH / 6));
        let with_slash = format!("https://example.com?{}", "a".repeat(MAX_WEBHOOK_URL_LENGTH - 20));
        for text in [long, escaped, with_slash] {
            assert_eq!(fault(&text), WebhookUrlError::TooLong { max: MAX_WEBHOOK_URL_LENGTH });
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

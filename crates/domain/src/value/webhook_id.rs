//! The identity of a webhook.

use std::fmt;

use uuid::Uuid;

use super::hyphenated_uuid::parse_hyphenated;

const STREAM_PREFIX: &str = "webhook-";

/// The id of a webhook: a UUID.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct WebhookId(Uuid);

/// The text is not a webhook id.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a webhook id is a hyphenated UUID")]
pub struct WebhookIdError;

impl WebhookId {
    /// Creates the id from a UUID.
    #[must_use]
    pub const fn from_uuid(uuid: Uuid) -> Self {
        Self(uuid)
    }

    /// The bytes of the UUID.
    #[must_use]
    pub const fn as_bytes(&self) -> &[u8; 16] {
        self.0.as_bytes()
    }

    /// Parses an id as sent by clients, in either case.
    ///
    /// # Errors
    /// [`WebhookIdError`] if it is not a hyphenated UUID.
    pub fn parse(text: &str) -> Result<Self, WebhookIdError> {
        parse_hyphenated(text).map(Self).ok_or(WebhookIdError)
    }

    /// The name of the webhook's stream in the event store.
    #[must_use]
    pub fn stream(&self) -> String {
        format!("{STREAM_PREFIX}{self}")
    }

    /// Parses a stream name; `None` unless it is exactly the form of [`stream`](WebhookId::stream).
    #[must_use]
    pub fn from_stream(stream: &str) -> Option<Self> {
        let id = Self::parse(stream.strip_prefix(STREAM_PREFIX)?).ok()?;
        (id.stream() == stream).then_some(id)
    }
}

impl fmt::Display for WebhookId {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{}", self.0.hyphenated())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const UUID: &str = "01930000-0000-7000-8000-00000000002a";

    #[test]
    fn webhook_id_round_trips_through_text_and_stream() {
        let id = WebhookId::parse(UUID).unwrap();
        assert_eq!(id.to_string(), UUID);
        assert_eq!(WebhookId::parse(&UUID.to_uppercase()), Ok(id));
        assert_eq!(WebhookId::from_stream(&format!("webhook-{UUID}")), Some(id));
    }

    #[test]
    fn non_canonical_spellings_are_rejected() {
        for text in ["", "42", &UUID.replace('-', ""), &format!(" {UUID}")] {
            assert_eq!(WebhookId::parse(text), Err(WebhookIdError), "{text}");
        }
        for stream in ["webhook-", UUID, &format!("user-{UUID}"), &format!("webhook-{}", UUID.to_uppercase())]
        {
            assert_eq!(WebhookId::from_stream(stream), None, "{stream}");
        }
    }
}

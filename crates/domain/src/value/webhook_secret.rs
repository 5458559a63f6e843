//! The secret that signs the deliveries of a webhook.

use std::fmt;

use super::hex;

/// Length of a secret in octets: within the 24 to 64 that Standard Webhooks requires.
pub const WEBHOOK_SECRET_OCTETS: usize = 32;

/// The signing secret of a webhook. `Debug` does not print it.
#[derive(Clone, PartialEq, Eq)]
pub struct WebhookSecret([u8; WEBHOOK_SECRET_OCTETS]);

/// The stored text is not a webhook secret. The message does not contain it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a webhook secret is 64 hex digits in the log")]
pub struct WebhookSecretError;

impl WebhookSecret {
    /// Creates a secret from random octets.
    #[must_use]
    pub const fn new(octets: [u8; WEBHOOK_SECRET_OCTETS]) -> Self {
        Self(octets)
    }

    /// The octets of the secret.
    #[must_use]
    pub const fn expose(&self) -> &[u8; WEBHOOK_SECRET_OCTETS] {
        &self.0
    }

    /// The stored form, before encryption: hex digits.
    pub(crate) fn to_stored(&self) -> String {
        hex::encode(&self.0)
    }

    pub(crate) fn from_stored(text: &str) -> Result<Self, WebhookSecretError> {
        hex::decode(text).map(Self).ok_or(WebhookSecretError)
    }
}

impl fmt::Debug for WebhookSecret {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("WebhookSecret(…)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn secret_round_trips() {
        let secret = WebhookSecret::new(std::array::from_fn(|index| u8::try_from(index * 7).unwrap_or(255)));
        assert!(WebhookSecret::from_stored(&secret.to_stored()) == Ok(secret));
        for text in ["", "00", &"g".repeat(64), &"é".repeat(32)] {
            assert!(WebhookSecret::from_stored(text) == Err(WebhookSecretError), "{text}");
        }
    }
}

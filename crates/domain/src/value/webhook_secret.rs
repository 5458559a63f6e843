//! The secret that signs the deliveries of a webhook.

use std::fmt;

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
        let digits = self.0.iter().flat_map(|octet| [octet >> 4, octet & 15]);
        digits.filter_map(|digit| char::from_digit(digit.into(), 16)).collect()
    }

    pub(crate) fn from_stored(text: &str) -> Result<Self, WebhookSecretError> {
        let mut octets = [0; WEBHOOK_SECRET_OCTETS];
        if text.len() != 2 * octets.len() {
            return Err(WebhookSecretError);
        }
        for (octet, digits) in octets.iter_mut().zip(text.as_bytes().chunks(2)) {
            let digits = std::str::from_utf8(digits).map_err(|_| WebhookSecretError)?;
            *octet = u8::from_str_radix(digits, 16).map_err(|_| WebhookSecretError)?;
        }
        Ok(Self(octets))
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

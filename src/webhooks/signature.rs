//! Signatures of deliveries, by Standard Webhooks 1.0 (<https://www.standardwebhooks.com>): HMAC-SHA-256 over id, time and
//! body, in the header `webhook-signature`. With two valid secrets there are two, a space between them.

use aws_lc_rs::hmac;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use domain::WebhookSecret;

/// Before a secret that is shown.
const PREFIX: &str = "whsec_";

/// A secret as its owner is shown it: `whsec_` and base64.
pub(crate) fn encode_secret(secret: &WebhookSecret) -> String {
    format!("{PREFIX}{}", STANDARD.encode(secret.expose()))
}

/// The value of `webhook-signature`, with a signature for each secret. `time` is in seconds since the Unix epoch.
pub(super) fn sign(secrets: &[&WebhookSecret], id: &str, time: i64, body: &[u8]) -> String {
    let signatures: Vec<_> =
        secrets.iter().map(|secret| signature(secret.expose(), id, time, body)).collect();
    signatures.join(" ")
}

fn signature(secret: &[u8], id: &str, time: i64, body: &[u8]) -> String {
    let mut context = hmac::Context::with_key(&hmac::Key::new(hmac::HMAC_SHA256, secret));
    context.update(format!("{id}.{time}.").as_bytes());
    context.update(body);
    format!("v1,{}", STANDARD.encode(context.sign()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_signature_is_that_of_the_specification() {
        // The example of the specification.
        let secret = STANDARD.decode("MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw").unwrap();
        let body = br#"{"test": 2432232314}"#;
        assert_eq!(
            signature(&secret, "msg_p5jXN8AQM9LWM0D4loKWxJek", 1_614_265_330, body),
            "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE="
        );
    }

    #[test]
    fn there_is_a_signature_for_each_secret() {
        let (new, old) = (WebhookSecret::new([1; 32]), WebhookSecret::new([2; 32]));
        let both = sign(&[&new, &old], "id", 1, b"{}");
        assert_eq!(both, format!("{} {}", sign(&[&new], "id", 1, b"{}"), sign(&[&old], "id", 1, b"{}")));
        assert!(encode_secret(&new).starts_with("whsec_AQEB"));
    }
}

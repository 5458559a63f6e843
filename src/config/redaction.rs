//! Masks secrets by value in everything that is printed, wherever a library or the system repeats one in a message.
//! Every [`Secret`](super::Secret) of the process is registered when it is read.

use std::borrow::Cow;
use std::io::{self, Write};
use std::sync::{PoisonError, RwLock};

use percent_encoding::percent_decode_str;
use zeroize::Zeroizing;

/// Replaces a secret of any length.
pub(super) const MASK: &str = "********";
/// Shorter texts occur in ordinary words.
const MIN_LENGTH: usize = 4;

/// The longest first, so that no part of one stays visible because it is another.
static SECRETS: RwLock<Vec<Zeroizing<String>>> = RwLock::new(Vec::new());

/// Registers a secret, and the passwords in it if it is a URL.
pub(super) fn register(text: &str) {
    let mut texts = vec![text.to_owned()];
    if let Some(password) = url_password(text) {
        texts.extend(percent_decode_str(password).decode_utf8().ok().map(Cow::into_owned));
        // A parser that fails at a reserved character repeats what it has read up to there.
        texts.extend(password.split([':', '/', '?', '#', '[', ']', '@']).map(str::to_owned));
        texts.push(password.to_owned());
    }
    // In JSON logs, quotes and backslashes are escaped.
    let escaped = texts.iter().filter_map(|text| serde_json::to_string(text).ok());
    let escaped: Vec<_> = escaped.map(|quoted| quoted.trim_matches('"').to_owned()).collect();
    let mut secrets = SECRETS.write().unwrap_or_else(PoisonError::into_inner);
    for text in texts.into_iter().chain(escaped).map(Zeroizing::new) {
        if text.len() >= MIN_LENGTH && !secrets.contains(&text) {
            secrets.push(text);
        }
    }
    secrets.sort_by_key(|text| std::cmp::Reverse(text.len()));
}

/// The password in the user information of a URL.
pub(super) fn url_password(text: &str) -> Option<&str> {
    let (_, rest) = text.split_once("://")?;
    // The last `@`: a password may contain others although it should not.
    Some(rest.rsplit_once('@')?.0.split_once(':')?.1)
}

/// The text without the values of secrets.
#[must_use]
pub fn redact(text: &str) -> Cow<'_, str> {
    let secrets = SECRETS.read().unwrap_or_else(PoisonError::into_inner);
    let mut redacted = Cow::Borrowed(text);
    for secret in secrets.iter().filter(|secret| text.contains(secret.as_str())) {
        redacted = Cow::Owned(redacted.replace(secret.as_str(), MASK));
    }
    redacted
}

/// Standard error, without the values of secrets. Each call of `write` has to be a whole message.
#[derive(Debug, Default)]
pub struct RedactedStderr;

impl Write for RedactedStderr {
    fn write(&mut self, message: &[u8]) -> io::Result<usize> {
        let text = String::from_utf8_lossy(message);
        io::stderr().lock().write_all(redact(&text).as_bytes())?;
        Ok(message.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        io::stderr().lock().flush()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn secrets_are_masked_wherever_they_appear() {
        register("mongodb://svc:Hunter2?x%2Fy@h/?replicaSet=rs0");
        register("s3cr\"et-key");
        register("prefix");
        register("prefix-and-rest");
        for (text, redacted) in [
            ("invalid port \"Hunter2\"", "invalid port \"********\""),
            ("password Hunter2?x/y", "password ********"),
            ("mongodb://svc:Hunter2?x%2Fy@h/?replicaSet=rs0", "********"),
            ("{\"error\":\"s3cr\\\"et-key\"}", "{\"error\":\"********\"}"),
            ("prefix-and-rest, prefix", "********, ********"),
            ("svc at h", "svc at h"),
        ] {
            assert_eq!(redact(text), redacted);
        }
    }

    #[test]
    fn short_texts_are_not_registered() {
        register("abc");
        assert_eq!(redact("abcdef"), "abcdef");
    }
}

//! Parses JSON bodies, with the error messages of FastAPI.

use std::borrow::Cow;
use std::sync::LazyLock;

use regex::{Captures, Regex};
use serde_json::Value;

use super::json_syntax;
use crate::http::api_error::{ApiError, ValidationError};

const UNREADABLE: &str = "There was an error parsing the body";

/// Parses UTF-8 with or without a byte order mark. The last of several members with the same name wins.
pub(crate) fn parse(body: &[u8]) -> Result<Value, ApiError> {
    let text = str::from_utf8(body).map_err(|error| {
        ApiError::UnreadableBody(format!("{UNREADABLE}: it is no UTF-8 from byte {} on", error.valid_up_to()))
    })?;
    let text = text.strip_prefix('\u{FEFF}').unwrap_or(text);
    serde_json::from_str(text).or_else(|_| match json_syntax::locate(text) {
        Some(error) => Err(ApiError::invalid(ValidationError::invalid_json(error.offset, error.error))),
        // The syntax is valid, so it is nested too deeply, or a number is out of range, which is allowed (RFC
        // 8259 §6).
        None => serde_json::from_str(&clamp_numbers(text)).map_err(|error| {
            // The message of the parser does not quote the text.
            ApiError::UnreadableBody(format!("{UNREADABLE}: {error}"))
        }),
    })
}

/// Strings and numbers of a syntactically valid text.
#[expect(clippy::expect_used, reason = "the pattern is constant")]
static TOKENS: LazyLock<Regex> =
    LazyLock::new(|| Regex::new(r#""(?:[^"\\]|\\.)*"|-?[0-9][-+.eE0-9]*"#).expect("valid pattern"));

/// Replaces numbers beyond the range of a float by its limits.
fn clamp_numbers(text: &str) -> Cow<'_, str> {
    TOKENS.replace_all(text, |token: &Captures<'_>| {
        let token = token.get(0).map_or("", |token| token.as_str());
        match token.parse::<f64>() {
            Ok(f64::INFINITY) => "1e308".to_owned(),
            Ok(f64::NEG_INFINITY) => "-1e308".to_owned(),
            Ok(_) | Err(_) => token.to_owned(),
        }
    })
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn rejection(body: &[u8]) -> String {
        match parse(body) {
            Err(ApiError::UnreadableBody(why)) => why,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn a_byte_order_mark_is_skipped_and_the_last_duplicate_member_wins() {
        let value = parse("\u{FEFF}{\"a\":1,\"a\":2}".as_bytes()).unwrap();
        assert_eq!(value, json!({"a": 2}));
    }

    #[test]
    fn unreadable_bodies_are_rejected_without_being_echoed() {
        assert_eq!(rejection(b"{\"a\":\"\xFF\"}"), format!("{UNREADABLE}: it is no UTF-8 from byte 6 on"));
        let deep = format!("{}1{}", "[".repeat(200), "]".repeat(200));
        assert!(rejection(deep.as_bytes()).contains("recursion limit exceeded"));
        assert!(rejection("[".repeat(60_000).as_bytes()).contains("recursion limit exceeded"));
    }

    #[test]
    fn out_of_range_numbers_are_clamped() {
        let text = r#"{"a\\\"":[1e999,-1e999,1.5],"b":"1e999 \" 1e999"}"#;
        let value = parse(text.as_bytes()).unwrap();
        assert_eq!(value, json!({"a\\\"": [1e308, -1e308, 1.5], "b": "1e999 \" 1e999"}));
    }
}

//! The text of a body as JSON.

use serde_json::Value;

use super::json_fault;
use crate::http::problem::{Fault, Problem};

const UNREADABLE: &str = "There was an error parsing the body";

/// Reads a JSON text in UTF-8, with or without a byte order mark. Of members with the same name the last one counts.
pub(super) fn parse(body: &[u8]) -> Result<Value, Problem> {
    let text = str::from_utf8(body).map_err(|error| {
        Problem::UnreadableBody(format!("{UNREADABLE}: it is no UTF-8 from byte {} on", error.valid_up_to()))
    })?;
    let text = text.strip_prefix('\u{FEFF}').unwrap_or(text);
    serde_json::from_str(text).or_else(|_| match json_fault::locate(text) {
        Some(fault) => Err(Problem::invalid(Fault::no_json(fault.offset, fault.error))),
        // The grammar is kept, so it is too deep, or a number is beyond bounds. The latter is allowed (RFC 8259 §6).
        None => serde_json::from_str(&bounded(text)).map_err(|error| {
            // The parser names the fault and shows nothing of the text.
            Problem::UnreadableBody(format!("{UNREADABLE}: {error}"))
        }),
    })
}

/// A text that keeps the grammar, with numbers beyond what a float can hold put to its bounds.
fn bounded(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(first) = rest.chars().next() {
        let length = match first {
            '"' => string_length(rest),
            '-' | '0'..='9' => {
                rest.find(|next: char| !"+-.eE0123456789".contains(next)).unwrap_or(rest.len())
            }
            other => other.len_utf8(),
        };
        let (token, after) = rest.split_at(length);
        match token.parse::<f64>() {
            Ok(number) if number == f64::INFINITY => out.push_str("1e308"),
            Ok(number) if number == f64::NEG_INFINITY => out.push_str("-1e308"),
            Ok(_) | Err(_) => out.push_str(token),
        }
        rest = after;
    }
    out
}

/// The length of the string literal that `text` begins with, quotes and all.
fn string_length(text: &str) -> usize {
    let mut escaped = false;
    let end = text.char_indices().skip(1).find(|(_, character)| {
        let ends = *character == '"' && !escaped;
        escaped = *character == '\\' && !escaped;
        ends
    });
    end.map_or(text.len(), |(index, quote)| index + quote.len_utf8())
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn refused(body: &[u8]) -> String {
        match parse(body) {
            Err(Problem::UnreadableBody(why)) => why,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn a_byte_order_mark_is_passed_over_and_the_last_of_two_members_counts() {
        let value = parse("\u{FEFF}{\"a\":1,\"a\":2}".as_bytes()).unwrap();
        assert_eq!(value, json!({"a": 2}));
    }

    #[test]
    fn what_cannot_be_read_is_said_without_showing_it() {
        assert_eq!(refused(b"{\"a\":\"\xFF\"}"), format!("{UNREADABLE}: it is no UTF-8 from byte 6 on"));
        let deep = format!("{}1{}", "[".repeat(200), "]".repeat(200));
        assert!(refused(deep.as_bytes()).contains("recursion limit exceeded"));
        assert!(refused("[".repeat(60_000).as_bytes()).contains("recursion limit exceeded"));
    }

    #[test]
    fn a_number_beyond_all_bounds_is_a_number() {
        let text = r#"{"a\\\"":[1e999,-1e999,1.5],"b":"1e999 \" 1e999"}"#;
        let value = parse(text.as_bytes()).unwrap();
        assert_eq!(value, json!({"a\\\"": [1e308, -1e308, 1.5], "b": "1e999 \" 1e999"}));
    }
}

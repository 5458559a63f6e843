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
    serde_json::from_str(text).map_err(|error| match json_fault::locate(text) {
        Some(fault) => Problem::invalid(Fault::no_json(fault.offset, fault.error)),
        // Too deep, or a number too large: the parser names the fault and shows nothing of the text.
        None => Problem::UnreadableBody(format!("{UNREADABLE}: {error}")),
    })
}

#[cfg(test)]
mod tests {
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
        assert_eq!(value, serde_json::json!({"a": 2}));
    }

    #[test]
    fn what_cannot_be_read_is_said_without_showing_it() {
        assert_eq!(refused(b"{\"a\":\"\xFF\"}"), format!("{UNREADABLE}: it is no UTF-8 from byte 6 on"));
        assert!(refused("[".repeat(60_000).as_bytes()).contains("recursion limit exceeded"));
        assert!(refused(b"{\"password\":1e999}").contains("number out of range"));
    }
}

//! The canonical form of an event: RFC 8785 JSON of every stored field but the leaf. Hashes are made of it, so a third
//! party can make them again from an export with nothing but a JSON library.

use base64::prelude::{BASE64_URL_SAFE_NO_PAD, Engine};
use jiff::Timestamp;
use serde_json::{Map, Value};

use crate::event::Envelope;

/// The largest canonical event, in bytes. Larger ones are refused before the append.
pub const MAX_EVENT_BYTES: usize = 32 * 1024;

/// The largest integer that every JSON implementation reads back exactly (RFC 8785 §3.2.2.3, RFC 7493 §2.2).
const MAX_SAFE_INTEGER: u64 = (1 << 53) - 1;

/// A value that has no single canonical form here.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum NotCanonical {
    /// A number that is no integer, or one of 2^53 and above.
    #[error("event data holds the number {0}: only integers below 2^53 are allowed")]
    Number(String),
    /// A null: absent fields are left out instead.
    #[error("event data holds a null: leave the field out instead")]
    Null,
    /// A field name with a zero byte, which BSON cannot hold.
    #[error("event data holds a field whose name has a zero byte")]
    Name,
}

/// The canonical bytes of an event.
///
/// # Errors
/// [`NotCanonical`] if `data` holds a fraction, a null, an integer of 2^53 and above, or a zero byte in a name.
pub fn canonical_event(event: &Envelope) -> Result<Vec<u8>, NotCanonical> {
    let mut fields = Map::new();
    let mut put = |name: &str, value: Value| fields.insert(name.to_owned(), value);
    put("actor", event.actor.as_str().into());
    put("at", rfc3339(event.at).into());
    put("data", Value::Object(event.data.clone()));
    put("id", event.id.hyphenated().to_string().into());
    put("position", event.position.get().into());
    put("request_id", event.request_id.as_str().into());
    put("schema", event.schema.into());
    put("stream", event.stream.as_str().into());
    put("type", event.event_type.as_str().into());
    put("version", event.version.into());
    if let Some(sealed) = &event.sealed {
        put("sealed", BASE64_URL_SAFE_NO_PAD.encode(sealed).into());
    }
    let mut out = Vec::with_capacity(1024);
    write_object(&fields, &mut out)?;
    Ok(out)
}

/// An object in RFC 8785 form.
///
/// # Errors
/// As [`canonical_event`].
pub fn canonical_object(object: &Map<String, Value>) -> Result<Vec<u8>, NotCanonical> {
    let mut out = Vec::new();
    write_object(object, &mut out)?;
    Ok(out)
}

/// RFC 3339, UTC, always three digits of a second and `Z`.
#[must_use]
pub fn rfc3339(at: Timestamp) -> String {
    format!("{at:.3}")
}

fn write_value(value: &Value, out: &mut Vec<u8>) -> Result<(), NotCanonical> {
    match value {
        Value::Null => return Err(NotCanonical::Null),
        Value::Bool(true) => out.extend_from_slice(b"true"),
        Value::Bool(false) => out.extend_from_slice(b"false"),
        Value::Number(number) => {
            let safe = number.as_i64().is_some_and(|n| n.unsigned_abs() <= MAX_SAFE_INTEGER);
            if !safe {
                return Err(NotCanonical::Number(number.to_string()));
            }
            out.extend_from_slice(number.to_string().as_bytes());
        }
        Value::String(text) => write_string(text, out),
        Value::Array(items) => {
            out.push(b'[');
            for (index, item) in items.iter().enumerate() {
                if index > 0 {
                    out.push(b',');
                }
                write_value(item, out)?;
            }
            out.push(b']');
        }
        Value::Object(object) => write_object(object, out)?,
    }
    Ok(())
}

/// Sorts by UTF-16 code units, as RFC 8785 §3.2.3 asks, whatever order the map itself keeps.
fn write_object(object: &Map<String, Value>, out: &mut Vec<u8>) -> Result<(), NotCanonical> {
    let mut entries: Vec<_> = object.iter().collect();
    entries.sort_by(|(a, _), (b, _)| a.encode_utf16().cmp(b.encode_utf16()));
    out.push(b'{');
    for (index, (name, value)) in entries.into_iter().enumerate() {
        if index > 0 {
            out.push(b',');
        }
        if name.contains('\0') {
            return Err(NotCanonical::Name);
        }
        write_string(name, out);
        out.push(b':');
        write_value(value, out)?;
    }
    out.push(b'}');
    Ok(())
}

/// RFC 8785 §3.2.2.2: the two-character escapes where JSON has them, `\u00xx` for other control characters, all
/// else as it is. This is what `serde_json` writes; the test below pins it.
fn write_string(text: &str, out: &mut Vec<u8>) {
    out.extend_from_slice(Value::from(text).to_string().as_bytes());
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn canonical(value: &Value) -> Result<String, NotCanonical> {
        let mut out = Vec::new();
        write_value(value, &mut out).map(|()| String::from_utf8(out).unwrap())
    }

    #[test]
    fn keys_are_sorted_by_utf16_code_units() {
        // The example of RFC 8785 §3.2.3, values shortened.
        let value =
            json!({"\u{20ac}": 1, "\r": 2, "\u{fb33}": 3, "1": 4, "\u{1f600}": 5, "\u{80}": 6, "\u{f6}": 7});
        let text = canonical(&value).unwrap();
        assert_eq!(
            text,
            "{\"\\r\":2,\"1\":4,\"\u{80}\":6,\"\u{f6}\":7,\"\u{20ac}\":1,\"\u{1f600}\":5,\"\u{fb33}\":3}"
        );
    }

    #[test]
    fn strings_are_escaped_as_the_standard_says() {
        let text = canonical(&json!("\u{20ac}$\u{f}\nA'B\"\\\u{8}\u{c}\t/\u{7f}")).unwrap();
        assert_eq!(text, "\"\u{20ac}$\\u000f\\nA'B\\\"\\\\\\b\\f\\t/\u{7f}\"");
    }

    #[test]
    fn numbers_that_lose_digits_elsewhere_are_refused() {
        assert_eq!(canonical(&json!(9_007_199_254_740_991_u64)).unwrap(), "9007199254740991");
        assert!(canonical(&json!(9_007_199_254_740_992_u64)).is_err());
        assert!(canonical(&json!(u64::MAX)).is_err());
        assert!(canonical(&json!(0.5)).is_err());
        assert_eq!(canonical(&json!({"a": [null]})), Err(NotCanonical::Null));
        assert_eq!(canonical(&json!([{"a\u{0}": 1}])), Err(NotCanonical::Name));
    }

    #[test]
    fn times_have_three_digits_and_a_z() {
        let at: Timestamp = "2026-11-22T08:03:14.68Z".parse().unwrap();
        assert_eq!(rfc3339(at), "2026-11-22T08:03:14.680Z");
        assert_eq!(rfc3339(Timestamp::UNIX_EPOCH), "1970-01-01T00:00:00.000Z");
    }
}

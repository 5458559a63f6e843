//! The canonical form of an event: every stored field but the leaf hash, serialised by the JSON
//! Canonicalization Scheme (RFC 8785). Leaf hashes are computed from it, so a third party can recompute them
//! from an export with a JSON library. Hashing belongs to [`merkle`](crate::merkle).

use base64::prelude::{BASE64_URL_SAFE_NO_PAD, Engine};
use jiff::Timestamp;
use serde::Serialize;
use serde_json::{Map, Number, Value};
use uuid::Uuid;

use crate::event::Envelope;

/// Maximum size of a canonical event in bytes. A larger event is rejected before the append.
pub const MAX_EVENT_BYTES: usize = 32 * 1024;

/// The largest integer that every JSON implementation reads back exactly (RFC 8785 §3.2.2.3, RFC 7493 §2.2).
const MAX_SAFE_INTEGER: u64 = (1 << 53) - 1;

/// The event has no canonical form.
#[derive(Clone, Debug, thiserror::Error, PartialEq, Eq)]
pub enum CanonicalError {
    /// A number that is not an integer below 2^53.
    #[error("event data contains the number {0}: only integers below 2^53 are allowed")]
    Number(String),
    /// A null; absent fields are omitted instead.
    #[error("event data contains a null: omit the field instead")]
    Null,
    /// A field name with a zero byte, which BSON cannot hold.
    #[error("event data contains a field whose name has a zero byte")]
    Name,
}

/// Serialises an event in its canonical form.
///
/// # Errors
/// [`CanonicalError`] if `data` holds a fraction, a null or a zero byte in a name, or any number is 2^53 or
/// above.
pub fn canonical_event(event: &Envelope) -> Result<Vec<u8>, CanonicalError> {
    let mut out = Vec::with_capacity(1024);
    // Sorted by name, as the RFC requires. These names and numbers need no escape.
    out.extend_from_slice(b"{\"actor\":");
    write_string(&event.actor, &mut out);
    write_unescaped("at", &rfc3339(event.at), &mut out);
    write_name("data", &mut out);
    write_object(&event.data, &mut out)?;
    write_unescaped("id", event.id.hyphenated().encode_lower(&mut Uuid::encode_buffer()), &mut out);
    write_name("position", &mut out);
    write_number(&event.position.get().into(), &mut out)?;
    write_field("request_id", &event.request_id, &mut out);
    write_name("schema", &mut out);
    write_number(&event.schema.into(), &mut out)?;
    if let Some(sealed) = &event.sealed {
        write_unescaped("sealed", &BASE64_URL_SAFE_NO_PAD.encode(sealed), &mut out);
    }
    write_unescaped("stream", event.stream.as_str(), &mut out);
    write_field("type", &event.event_type, &mut out);
    write_name("version", &mut out);
    write_number(&event.version.into(), &mut out)?;
    out.push(b'}');
    Ok(out)
}

/// Serialises an object by the JSON Canonicalization Scheme (RFC 8785).
///
/// # Errors
/// As [`canonical_event`].
pub fn canonical_object(object: &Map<String, Value>) -> Result<Vec<u8>, CanonicalError> {
    let mut out = Vec::new();
    write_object(object, &mut out)?;
    Ok(out)
}

/// Formats a time by RFC 3339 in UTC, with milliseconds and `Z`.
#[must_use]
pub fn rfc3339(at: Timestamp) -> String {
    format!("{at:.3}")
}

fn write_value(value: &Value, out: &mut Vec<u8>) -> Result<(), CanonicalError> {
    match value {
        Value::Null => return Err(CanonicalError::Null),
        Value::Bool(true) => out.extend_from_slice(b"true"),
        Value::Bool(false) => out.extend_from_slice(b"false"),
        Value::Number(number) => write_number(number, out)?,
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

/// Sorts by UTF-16 code units, as RFC 8785 §3.2.3 requires, independently of the order of the map.
fn write_object(object: &Map<String, Value>, out: &mut Vec<u8>) -> Result<(), CanonicalError> {
    let mut entries: Vec<_> = object.iter().collect();
    // Byte order is the same except for characters beyond U+FFFF.
    if !entries.is_sorted_by_key(|(name, _)| *name) || entries.iter().any(|(name, _)| !name.is_ascii()) {
        entries.sort_by(|(a, _), (b, _)| a.encode_utf16().cmp(b.encode_utf16()));
    }
    out.push(b'{');
    for (index, (name, value)) in entries.into_iter().enumerate() {
        if index > 0 {
            out.push(b',');
        }
        if name.contains('\0') {
            return Err(CanonicalError::Name);
        }
        write_string(name, out);
        out.push(b':');
        write_value(value, out)?;
    }
    out.push(b'}');
    Ok(())
}

/// A field, not the first, whose text needs no escapes.
fn write_unescaped(name: &str, text: &str, out: &mut Vec<u8>) {
    write_name(name, out);
    out.push(b'"');
    out.extend_from_slice(text.as_bytes());
    out.push(b'"');
}

/// A field, not the first of its object.
fn write_field(name: &str, text: &str, out: &mut Vec<u8>) {
    write_name(name, out);
    write_string(text, out);
}

fn write_name(name: &str, out: &mut Vec<u8>) {
    out.push(b',');
    write_string(name, out);
    out.push(b':');
}

fn write_number(number: &Number, out: &mut Vec<u8>) -> Result<(), CanonicalError> {
    match number.as_i64() {
        Some(integer) if integer.unsigned_abs() <= MAX_SAFE_INTEGER => write_plain(&integer, out),
        _ => return Err(CanonicalError::Number(number.to_string())),
    }
    Ok(())
}

/// RFC 8785 §3.2.2.2: two-character escapes where JSON has them, `\u00xx` for other control characters,
/// everything else unescaped. `serde_json` writes this form; the test below pins it.
fn write_string(text: &str, out: &mut Vec<u8>) {
    write_plain(text, out);
}

/// Serialising text and integers into memory cannot fail.
fn write_plain(value: &(impl Serialize + ?Sized), out: &mut Vec<u8>) {
    let written = serde_json::to_writer(&mut *out, value);
    debug_assert!(written.is_ok(), "{written:?}");
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::event::{Position, StreamId};

    fn canonical(value: &Value) -> Result<String, CanonicalError> {
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
    fn strings_are_escaped_as_rfc_8785_requires() {
        let text = canonical(&json!("\u{20ac}$\u{f}\nA'B\"\\\u{8}\u{c}\t/\u{7f}")).unwrap();
        assert_eq!(text, "\"\u{20ac}$\\u000f\\nA'B\\\"\\\\\\b\\f\\t/\u{7f}\"");
    }

    #[test]
    fn numbers_beyond_2_pow_53_are_rejected() {
        assert_eq!(canonical(&json!(9_007_199_254_740_991_u64)).unwrap(), "9007199254740991");
        assert!(canonical(&json!(9_007_199_254_740_992_u64)).is_err());
        assert!(canonical(&json!(u64::MAX)).is_err());
        assert!(canonical(&json!(0.5)).is_err());
        assert_eq!(canonical(&json!({"a": [null]})), Err(CanonicalError::Null));
        assert_eq!(canonical(&json!([{"a\u{0}": 1}])), Err(CanonicalError::Name));
    }

    #[test]
    fn an_event_is_the_object_of_its_fields() {
        let event = Envelope {
            position: Position::new(7),
            id: Uuid::from_u128(0xabcd),
            stream: StreamId::new("user-1").unwrap(),
            version: 3,
            event_type: "Happened \"so\"".to_owned(),
            schema: 2,
            at: Timestamp::UNIX_EPOCH,
            actor: "operator:ä\n".to_owned(),
            request_id: String::new(),
            data: Map::from_iter([
                ("b".to_owned(), json!([1, {"z": -1, "a": true}])),
                ("a".to_owned(), json!("x")),
            ]),
            sealed: Some(vec![0xff, 0xfe]),
            leaf: [9; 32],
        };
        let object = json!({
            "position": 7, "id": "00000000-0000-0000-0000-00000000abcd", "stream": "user-1", "version": 3,
            "type": "Happened \"so\"", "schema": 2, "at": "1970-01-01T00:00:00.000Z", "actor": "operator:ä\n",
            "request_id": "", "data": event.data, "sealed": "__4",
        });
        let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
        assert_eq!(text(canonical_event(&event).unwrap()), canonical(&object).unwrap());
        let mut object = object.as_object().unwrap().clone();
        object.remove("sealed");
        let event = Envelope { sealed: None, ..event };
        assert_eq!(text(canonical_event(&event).unwrap()), text(canonical_object(&object).unwrap()));
        let late = Envelope { position: Position::new(1 << 53), ..event };
        assert_eq!(canonical_event(&late), Err(CanonicalError::Number((1_u64 << 53).to_string())));
    }

    #[test]
    fn times_have_three_digits_and_a_z() {
        let at: Timestamp = "2026-11-22T08:03:14.68Z".parse().unwrap();
        assert_eq!(rfc3339(at), "2026-11-22T08:03:14.680Z");
        assert_eq!(rfc3339(Timestamp::UNIX_EPOCH), "1970-01-01T00:00:00.000Z");
    }
}

//! Message authentication codes (MAC) of stored records, and the encoding of what they cover.

use std::collections::BTreeMap;

use aws_lc_rs::{constant_time, hmac};
use base64::Engine;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use serde_json::Value;

use crate::key_store::ClaimKey;

/// The length of a code before it is encoded: HMAC-SHA-256-128 (RFC 4868).
const MAC_BYTES: usize = 16;

/// The key of the codes of one kind of record. Derived from the claim key, which is wrapped by the master key
/// (KEK).
#[derive(Clone)]
pub(crate) struct MacKey(hmac::Key);

impl MacKey {
    pub(crate) fn derive(claims: &ClaimKey, purpose: &str) -> Self {
        Self(hmac::Key::new(hmac::HMAC_SHA256, claims.hash_parts(purpose, &[]).as_bytes()))
    }

    /// The code of a record, in base64url.
    pub(crate) fn sign(&self, record: &[u8]) -> String {
        let tag = hmac::sign(&self.0, record);
        BASE64_URL_SAFE_NO_PAD.encode(tag.as_ref().get(..MAC_BYTES).unwrap_or_default())
    }

    /// The whole code of a record.
    pub(crate) fn tag(&self, record: &[u8]) -> [u8; 32] {
        let tag = hmac::sign(&self.0, record);
        std::array::from_fn(|index| tag.as_ref().get(index).copied().unwrap_or_default())
    }

    /// Whether that is the code of the record.
    pub(crate) fn is_code_of(&self, code: &str, record: &[u8]) -> bool {
        constant_time::verify_slices_are_equal(code.as_bytes(), self.sign(record).as_bytes()).is_ok()
    }
}

/// Each part is preceded by its length, so that the encoding is unambiguous.
pub(crate) fn push_bytes(buffer: &mut Vec<u8>, bytes: &[u8]) {
    buffer.extend(u64::try_from(bytes.len()).unwrap_or(u64::MAX).to_be_bytes());
    buffer.extend(bytes);
}

pub(crate) fn push_value(buffer: &mut Vec<u8>, value: &Value) {
    match value {
        Value::String(text) => {
            buffer.push(b's');
            push_bytes(buffer, text.as_bytes());
        }
        Value::Bool(value) => buffer.extend([b'b', u8::from(*value)]),
        Value::Number(number) => match number.as_i64() {
            Some(number) => {
                buffer.push(b'i');
                buffer.extend(number.to_be_bytes());
            }
            // Nothing stores such a number.
            None => push_bytes(buffer, number.to_string().as_bytes()),
        },
        Value::Array(items) => {
            buffer.push(b'l');
            buffer.extend(u64::try_from(items.len()).unwrap_or(u64::MAX).to_be_bytes());
            for item in items {
                push_value(buffer, item);
            }
        }
        // Null and absent are equal.
        Value::Object(fields) => {
            let fields: BTreeMap<_, _> = fields.iter().filter(|(_, value)| !value.is_null()).collect();
            buffer.push(b'o');
            buffer.extend(u64::try_from(fields.len()).unwrap_or(u64::MAX).to_be_bytes());
            for (name, value) in fields {
                push_bytes(buffer, name.as_bytes());
                push_value(buffer, value);
            }
        }
        Value::Null => buffer.push(b'n'),
    }
}

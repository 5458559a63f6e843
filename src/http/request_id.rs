//! The request id, which correlates a request with its log lines and its events.

use std::sync::atomic::{AtomicU64, Ordering};

use axum::http::{Extensions, HeaderMap, HeaderValue};
use store::Env;
use uuid::fmt::Hyphenated;
use uuid::{Uuid, Variant};

use super::headers::REQUEST_ID;

/// Generates request ids. They need not be secret, only distinct: reading the system's random generator for
/// each would cost more than the rest of a request for `/health`.
pub(crate) struct RequestIds {
    env: Env,
    seed: u64,
    count: AtomicU64,
}

impl RequestIds {
    pub(crate) fn new(env: &Env) -> Self {
        let seed = u64::from_le_bytes(env.bytes());
        Self { env: env.clone(), seed, count: AtomicU64::new(0) }
    }

    /// A `UUIDv7` (RFC 9562).
    fn next(&self) -> Uuid {
        let millis = u64::try_from(self.env.now().as_millisecond()).unwrap_or(0);
        let number = self.seed.wrapping_add(self.count.fetch_add(1, Ordering::Relaxed));
        let noise = u128::from(mix(number ^ millis)) << 64 | u128::from(mix(number));
        let [_, _, _, _, _, _, noise @ ..] = noise.to_be_bytes();
        uuid::Builder::from_unix_timestamp_millis(millis, &noise).into_uuid()
    }
}

/// The finalizer of `SplitMix64`: a bijection that makes consecutive numbers look unrelated.
fn mix(number: u64) -> u64 {
    let number = number.wrapping_mul(0x9E37_79B9_7F4A_7C15);
    let number = (number ^ (number >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    let number = (number ^ (number >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    number ^ (number >> 31)
}

/// The client's id if it is a random UUID, else a generated one. It is stored in the event log permanently
/// and unencrypted, so it must not be able to contain a name, not even in hexadecimal.
#[derive(Clone)]
pub(crate) struct RequestId(HeaderValue);

impl RequestId {
    pub(crate) fn from_headers(headers: &HeaderMap, ids: &RequestIds) -> Self {
        let given = headers.get(REQUEST_ID).and_then(|id| parse_hyphenated(id.as_bytes()));
        let id = given.unwrap_or_else(|| ids.next());
        let mut buffer = Uuid::encode_buffer();
        let id: &str = id.hyphenated().encode_lower(&mut buffer);
        Self(HeaderValue::from_str(id).unwrap_or_else(|_| Self::unknown()))
    }

    /// The id that the outermost layer assigned.
    pub(crate) fn of(extensions: &Extensions) -> Self {
        extensions.get().cloned().unwrap_or_else(|| Self(Self::unknown()))
    }

    fn unknown() -> HeaderValue {
        HeaderValue::from_static("unknown")
    }

    pub(crate) fn as_str(&self) -> &str {
        self.0.to_str().unwrap_or("unknown")
    }

    pub(crate) fn header(&self) -> HeaderValue {
        self.0.clone()
    }
}

/// Parses the hyphenated form of a UUID only; the length excludes the other forms that the library accepts.
/// Of the versions of RFC 9562, only 4 and 7 consist of random bits: the others may contain the address of a
/// network card, or any value.
fn parse_hyphenated(id: &[u8]) -> Option<Uuid> {
    let id = (id.len() == Hyphenated::LENGTH).then(|| Uuid::try_parse_ascii(id).ok())??;
    (id.get_variant() == Variant::RFC4122 && matches!(id.get_version_num(), 4 | 7)).then_some(id)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn id(given: &str) -> String {
        let mut headers = HeaderMap::new();
        headers.insert(REQUEST_ID, HeaderValue::from_str(given).unwrap());
        RequestId::from_headers(&headers, &RequestIds::new(&Env::system())).as_str().to_owned()
    }

    #[test]
    fn a_client_uuid_is_adopted_and_anything_else_replaced() {
        let uuid = "0193e2b4-0000-7000-8000-00000000000a";
        assert_eq!(id(uuid), uuid);
        assert_eq!(id(&uuid.to_uppercase()), uuid);
        let (simple, braced, urn) =
            (uuid.replace('-', ""), format!("{{{uuid}}}"), format!("urn:uuid:{uuid}"));
        let name = "ada.lovelace-of-example.com-in-london";
        for bad in
            ["", "abc-1._X", name, &name[..36], &uuid[..35], &simple, &braced, &urn, &format!("{uuid}0")]
        {
            let made = id(bad);
            assert_eq!(made.len(), 36, "{bad:?}");
            assert!(Uuid::try_parse(&made).is_ok() && made != bad && made != uuid, "{bad:?} gave {made}");
        }
    }

    #[test]
    fn ids_that_may_contain_text_are_replaced() {
        let text = "6a6f686e-2e64-6f65-4065-78616d706c65";
        let versions = ["0", "1", "2", "3", "5", "6", "8", "f"]
            .map(|v| format!("0193e2b4-0000-{v}000-8000-00000000000a"));
        let variants = ["0", "7", "c", "e"].map(|v| format!("0193e2b4-0000-4000-{v}000-00000000000a"));
        for bad in versions.iter().chain(&variants).map(String::as_str).chain([text]) {
            assert_ne!(id(bad), bad);
        }
        for good in ["0193e2b4-0000-4000-9000-00000000000a", "0193e2b4-0000-7000-b000-00000000000a"] {
            assert_eq!(id(good), good);
        }
    }

    #[test]
    fn fresh_ids_are_distinct_uuids() {
        let ids = RequestIds::new(&Env::system());
        let made: std::collections::BTreeSet<_> = (0..10_000).map(|_| ids.next()).collect();
        assert_eq!(made.len(), 10_000);
        assert!(made.iter().all(|id| id.get_version_num() == 7));
    }
}

//! The identity of a user, independent of e-mail address and username.

use std::fmt;

use uuid::Uuid;

use super::hyphenated_uuid::parse_hyphenated;

const STREAM_PREFIX: &str = "user-";
const LOGINS_PREFIX: &str = "logins-";

/// The fixed bits of a UUID that encodes an `ObjectId`: version 8, the variant with two zero bits after it,
/// and the trailing zeros.
const OBJECT_ID_LAYOUT: u128 = 0x0000_0000_0000_8000_8000_0000_0000_0000;

/// Mask of the fixed bits.
const OBJECT_ID_MASK: u128 = 0x0000_0000_0000_F000_F000_0000_00FF_FFFF;

/// The id of a user: a UUID, or the MongoDB `ObjectId` of an imported user.
///
/// An `ObjectId` is encoded as a UUID of version 8 (RFC 9562, section 5.8): its 24 hex digits are placed
/// around the version and the variant, followed by zeros:
///
/// ```text
/// 507f1f77bcf86cd799439011
/// 507f1f77-bcf8-86cd-8799-439011000000
///               ^    ^          ^^^^^^
/// ```
///
/// A UUID of that layout *is* the `ObjectId` and is always displayed as 24 digits, so that an imported user
/// keeps the id that clients know.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct UserId(Uuid);

/// The text is not a user id.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a user id is a hyphenated UUID or the 24 hex digits of an ObjectId")]
pub struct UserIdError;

impl UserId {
    /// Creates the id from a UUID.
    #[must_use]
    pub const fn from_uuid(uuid: Uuid) -> Self {
        Self(uuid)
    }

    /// The UUID, which may encode an `ObjectId`.
    #[must_use]
    pub const fn as_uuid(&self) -> Uuid {
        self.0
    }

    /// Encodes the `ObjectId` of an imported user.
    #[must_use]
    pub fn from_object_id(object_id: [u8; 12]) -> Self {
        let digits = object_id.into_iter().fold(0, |digits, byte| (digits << 8) | u128::from(byte));
        Self::from_object_id_digits(digits)
    }

    /// The encoded `ObjectId`, if there is one.
    #[must_use]
    pub fn object_id(&self) -> Option<[u8; 12]> {
        let [_, _, _, _, object_id @ ..] = self.object_id_digits()?.to_be_bytes();
        Some(object_id)
    }

    /// Parses an id as sent by clients: a hyphenated UUID or 24 hex digits, letters in either case.
    ///
    /// # Errors
    /// [`UserIdError`] for anything else, including other spellings of a UUID (without hyphens, in braces, as
    /// a URN): an id has one spelling, so that ids can be compared as text.
    pub fn parse(text: &str) -> Result<Self, UserIdError> {
        parse_hyphenated(text)
            .map(Self)
            .or_else(|| parse_object_id(text).map(Self::from_object_id_digits))
            .ok_or(UserIdError)
    }

    /// The name of the user's stream in the event store: `user-` and the hyphenated UUID in lower case, also
    /// for an `ObjectId`.
    #[must_use]
    pub fn stream(&self) -> String {
        format!("{STREAM_PREFIX}{}", self.0.hyphenated())
    }

    /// Parses a stream name; `None` unless it is exactly the form of [`stream`](UserId::stream).
    #[must_use]
    pub fn from_stream(stream: &str) -> Option<Self> {
        let uuid = stream.strip_prefix(STREAM_PREFIX)?;
        let id = parse_hyphenated(uuid).map(Self)?;
        (id.stream() == stream).then_some(id)
    }

    /// The name of the stream of the user's logins.
    #[must_use]
    pub fn logins_stream(&self) -> String {
        format!("{LOGINS_PREFIX}{}", self.0.hyphenated())
    }

    /// Parses the name of a stream of logins; `None` unless it is exactly the form of
    /// [`logins_stream`](UserId::logins_stream).
    #[must_use]
    pub fn from_logins_stream(stream: &str) -> Option<Self> {
        let uuid = stream.strip_prefix(LOGINS_PREFIX)?;
        let id = parse_hyphenated(uuid).map(Self)?;
        (id.logins_stream() == stream).then_some(id)
    }

    fn from_object_id_digits(digits: u128) -> Self {
        let first_12 = digits >> 48;
        let next_3 = (digits >> 36) & 0xFFF;
        let last_9 = digits & 0xF_FFFF_FFFF;
        let uuid = OBJECT_ID_LAYOUT | (first_12 << 80) | (next_3 << 64) | (last_9 << 24);
        Self(Uuid::from_u128(uuid))
    }

    fn object_id_digits(&self) -> Option<u128> {
        let uuid = self.0.as_u128();
        if uuid & OBJECT_ID_MASK != OBJECT_ID_LAYOUT {
            return None;
        }
        let first_12 = uuid >> 80;
        let next_3 = (uuid >> 64) & 0xFFF;
        let last_9 = (uuid >> 24) & 0xF_FFFF_FFFF;
        Some((first_12 << 48) | (next_3 << 36) | last_9)
    }
}

impl fmt::Display for UserId {
    /// The 24 hex digits of an `ObjectId`, else the hyphenated UUID; lower case.
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.object_id_digits() {
            Some(digits) => write!(formatter, "{digits:024x}"),
            None => write!(formatter, "{}", self.0.hyphenated()),
        }
    }
}

fn parse_object_id(text: &str) -> Option<u128> {
    let is_object_id = text.len() == 24 && text.bytes().all(|byte| byte.is_ascii_hexdigit());
    is_object_id.then(|| u128::from_str_radix(text, 16).ok()).flatten()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::samples;

    const UUID: &str = "01930000-0000-7000-8000-00000000002a";
    const OBJECT_ID: &str = "507f1f77bcf86cd799439011";
    const OBJECT_ID_AS_UUID: &str = "507f1f77-bcf8-86cd-8799-439011000000";

    #[track_caller]
    fn id(text: &str) -> UserId {
        UserId::parse(text).unwrap()
    }

    #[test]
    fn uuid_is_displayed_unchanged() {
        assert_eq!(id(UUID).to_string(), UUID);
        assert_eq!(id(&UUID.to_uppercase()), id(UUID));
        assert_eq!(id(UUID).object_id(), None);
    }

    #[test]
    fn object_id_layout_leaves_version_and_variant_bits() {
        assert_eq!(id(OBJECT_ID).as_uuid().to_string(), OBJECT_ID_AS_UUID);
        assert_eq!(id(OBJECT_ID).as_uuid().get_version_num(), 8);
        assert_eq!(id(OBJECT_ID).as_uuid().get_variant(), uuid::Variant::RFC4122);
    }

    #[test]
    fn object_id_has_one_canonical_spelling() {
        assert_eq!(id(OBJECT_ID), id(OBJECT_ID_AS_UUID));
        assert_eq!(id(OBJECT_ID_AS_UUID).to_string(), OBJECT_ID);
        assert_eq!(id(&OBJECT_ID.to_uppercase()).to_string(), OBJECT_ID);
    }

    #[test]
    fn stream_name_holds_the_uuid() {
        assert_eq!(id(UUID).stream(), format!("user-{UUID}"));
        assert_eq!(id(OBJECT_ID).stream(), format!("user-{OBJECT_ID_AS_UUID}"));
        assert_eq!(UserId::from_stream(&id(OBJECT_ID).stream()), Some(id(OBJECT_ID)));
    }

    #[test]
    fn only_exact_stream_names_parse() {
        let shouted = format!("user-{}", UUID.to_uppercase());
        let short = format!("user-{OBJECT_ID}");
        for stream in ["", "user-", "system", UUID, &shouted, &short] {
            assert_eq!(UserId::from_stream(stream), None, "{stream}");
        }
    }

    #[test]
    fn non_canonical_spellings_are_rejected() {
        let bare = UUID.replace('-', "");
        let braced = format!("{{{UUID}}}");
        let urn = format!("urn:uuid:{UUID}");
        let signed = "+07f1f77bcf86cd799439011";
        let spaced = format!(" {UUID}");
        for text in ["", "42", &bare, &braced, &urn, signed, &spaced, "é".repeat(12).as_str()] {
            assert_eq!(UserId::parse(text), Err(UserIdError), "{text}");
        }
    }

    proptest! {
        #![proptest_config(samples::config())]

        #[test]
        fn every_object_id_round_trips(bytes: [u8; 12]) {
            let id = UserId::from_object_id(bytes);
            prop_assert_eq!(id.object_id(), Some(bytes));
            prop_assert_eq!(UserId::parse(&id.to_string()), Ok(id));
            prop_assert_eq!(id.to_string().len(), 24);
        }

        #[test]
        fn every_user_id_round_trips_through_text_and_stream(id in samples::user_id()) {
            prop_assert_eq!(UserId::parse(&id.to_string()), Ok(id));
            prop_assert_eq!(UserId::parse(&id.as_uuid().to_string()), Ok(id));
            prop_assert_eq!(UserId::from_stream(&id.stream()), Some(id));
            prop_assert_eq!(UserId::from_logins_stream(&id.logins_stream()), Some(id));
            prop_assert_eq!(UserId::from_stream(&id.logins_stream()), None);
        }
    }
}

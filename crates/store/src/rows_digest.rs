//! An order-independent digest of the rows of a table, updated row by row: the sum of the hashes of the rows.
//! Two tables built from the same events have the same digest.

use std::fmt;

use aws_lc_rs::digest::{SHA256, digest};
use serde_json::{Map, Value};

/// A row as a JSON object.
type Row = Map<String, Value>;

/// Enough for most rows without another allocation.
const TYPICAL_ROW_BYTES: usize = 768;

/// The sum of the SHA-256 hashes of the rows, as four 64-bit numbers that are added separately.
#[derive(Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct RowsDigest([u64; 4]);

impl RowsDigest {
    /// The digest with a row added.
    #[must_use]
    pub fn plus(self, row: &Row) -> Self {
        self.and(Self::of(row))
    }

    /// The digest with a row removed that is part of it.
    #[must_use]
    pub fn minus(self, row: &Row) -> Self {
        self.except(Self::of(row))
    }

    /// The digest of the rows of both.
    #[must_use]
    pub fn and(self, other: Self) -> Self {
        self.combined(other, u64::wrapping_add)
    }

    /// The digest without rows that are part of it, given by theirs.
    #[must_use]
    pub fn except(self, other: Self) -> Self {
        self.combined(other, u64::wrapping_sub)
    }

    fn combined(self, Self(other): Self, combine: impl Fn(u64, u64) -> u64) -> Self {
        let Self(mut sum) = self;
        for (word, other) in sum.iter_mut().zip(other) {
            *word = combine(*word, other);
        }
        Self(sum)
    }

    /// The digest of one row, its SHA-256 hash: of the fields in alphabetical order; null and absent are equal.
    #[must_use]
    pub fn of(row: &Row) -> Self {
        let mut fields: Vec<_> = row.iter().filter(|(_, value)| !value.is_null()).collect();
        fields.sort_unstable_by_key(|(name, _)| *name);
        let mut encoded = Vec::with_capacity(TYPICAL_ROW_BYTES);
        for (name, value) in fields {
            encoded.extend_from_slice(name.as_bytes());
            encoded.push(0);
            // Cannot fail: memory is all that it writes to.
            let _written = serde_json::to_writer(&mut encoded, value);
            encoded.push(0);
        }
        let hash = digest(&SHA256, &encoded);
        let mut words = hash.as_ref().chunks_exact(8).map(|word| {
            let mut bytes = [0; 8];
            bytes.copy_from_slice(word);
            u64::from_be_bytes(bytes)
        });
        Self(std::array::from_fn(|_| words.next().unwrap_or_default()))
    }
}

impl RowsDigest {
    /// The bytes of a hash.
    pub(crate) fn to_bytes(self) -> [u8; 32] {
        let mut bytes = [0; 32];
        for (chunk, word) in bytes.chunks_exact_mut(8).zip(self.0) {
            chunk.copy_from_slice(&word.to_be_bytes());
        }
        bytes
    }
}

/// 64 hexadecimal digits.
impl fmt::Display for RowsDigest {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|word| write!(out, "{word:016x}"))
    }
}

impl fmt::Debug for RowsDigest {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "{self}")
    }
}

/// A text that is not 64 hexadecimal digits.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("expected 64 hexadecimal digits")]
pub struct InvalidDigest;

impl std::str::FromStr for RowsDigest {
    type Err = InvalidDigest;

    fn from_str(text: &str) -> Result<Self, InvalidDigest> {
        if text.len() != 64 {
            return Err(InvalidDigest);
        }
        let mut words = [0; 4];
        for (word, start) in words.iter_mut().zip([0, 16, 32, 48]) {
            let digits = text.get(start..start + 16).ok_or(InvalidDigest)?;
            *word = u64::from_str_radix(digits, 16).map_err(|_| InvalidDigest)?;
        }
        Ok(Self(words))
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn row(value: &serde_json::Value) -> Row {
        value.as_object().unwrap().clone()
    }

    #[test]
    fn digest_is_independent_of_row_order() {
        let (ada, bob) = (row(&json!({"id": "a", "n": 1})), row(&json!({"id": "b", "n": 2})));
        let both = RowsDigest::default().plus(&ada).plus(&bob);
        assert_eq!(both, RowsDigest::default().plus(&bob).plus(&ada));
        assert_eq!(both.minus(&bob), RowsDigest::default().plus(&ada));
        assert_eq!(both.minus(&bob).minus(&ada), RowsDigest::default());
        assert_eq!(both, RowsDigest::default().plus(&ada).and(RowsDigest::default().plus(&bob)));
        assert_ne!(both, RowsDigest::default().plus(&ada).plus(&row(&json!({"id": "b", "n": 3}))));
    }

    #[test]
    fn null_and_absent_fields_have_the_same_digest() {
        let (null, absent) = (row(&json!({"id": "a", "n": null})), row(&json!({"id": "a"})));
        assert_eq!(RowsDigest::default().plus(&null), RowsDigest::default().plus(&absent));
    }

    #[test]
    fn digest_round_trips_through_64_hex_digits() {
        let digest = RowsDigest::default().plus(&row(&json!({"id": "a"})));
        let shown = digest.to_string();
        assert_eq!((shown.len(), shown.parse()), (64, Ok(digest)));
        for wrong in ["", "abc", &"x".repeat(64), &"é".repeat(32)] {
            assert_eq!(wrong.parse::<RowsDigest>(), Err(InvalidDigest), "{wrong}");
        }
    }
}

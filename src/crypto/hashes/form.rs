//! What the textual forms of hashes have in common.

use zeroize::Zeroizing;

/// The bytes of the salts of bcrypt and of new hashes.
pub(super) const SALT_BYTES: usize = 16;

/// A parsed hash of one algorithm, with costs within the limits.
pub(super) struct Parsed<K> {
    pub(super) kind: K,
    pub(super) salt: Vec<u8>,
    pub(super) digest: Zeroizing<Vec<u8>>,
}

/// A number of decimal digits alone. One that is too large saturates, so that it exceeds any limit.
pub(super) fn number(text: &str) -> Option<u64> {
    let is_number = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    is_number.then(|| text.parse().unwrap_or(u64::MAX))
}

/// The parts of a text, if there are this many.
pub(super) fn parts<const COUNT: usize>(text: &str, separator: char) -> Option<[&str; COUNT]> {
    text.split(separator).collect::<Vec<_>>().try_into().ok()
}

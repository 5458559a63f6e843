//! Tokens and password hashes of the legacy service.

use jsonwebtoken::{Algorithm, EncodingKey, Header, encode};
use serde_json::Value;

/// Made by argon2-cffi 23.1, `PasswordHasher().hash("correct horse battery")`: m=65536, t=3, p=4.
pub(crate) const LEGACY_PASSWORD_HASH: &str =
    "$argon2id$v=19$m=65536,t=3,p=4$+mUDj+1fBltuGeevaKu1pA$mqstf5ScTujvxRVknZbjBcgB24D9zoVKnQHnj9rFzYU";
/// The password of that hash.
pub(crate) const LEGACY_PASSWORD: &str = "correct horse battery";

/// A token with exactly these claims.
pub(crate) fn sign_token(claims: &Value, algorithm: Algorithm, key: &str) -> String {
    encode(&Header::new(algorithm), claims, &EncodingKey::from_secret(key.as_bytes())).unwrap()
}

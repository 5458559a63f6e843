//! Password hashing on its own thread pool, the strength of passwords, access tokens, and the tokens
//! in mails. Envelope encryption belongs to the store.

mod costs;
mod hashes;
mod job_queue;
mod mail_token;
mod password;
mod pool;
mod strength;
mod token_keys;
mod tokens;
mod verified_tokens;
#[cfg(test)]
pub(crate) use pool::test_settings;

pub use costs::{CostsInUse, HashSurvey};
pub use hashes::{HashKind, HashParameters, PasswordHashError, StoredHash, UnsupportedHash};
pub use mail_token::{MailPurpose, MailToken};
pub use password::Password;
pub use pool::{HashSource, HashingError, HashingPool, NewPasswordError, Verification};
pub use strength::{NewPassword, WeakPassword};
pub use token_keys::{InvalidTokenKeys, KeyAlgorithm, PUBLICATION_LEAD, PublicKey, TokenKey, TokenKeys};
pub use tokens::{InvalidToken, IssuedToken, SessionGrant, Tokens};
pub use verified_tokens::VerifiedToken;

//! Value types: text is parsed once at the border, and a value of the type is valid.
//!
//! One type per file, with its rule and its error. Rules that need the state of a user belong to
//! [`crate::user`], HTTP messages to the HTTP layer.
//!
//! Each text type also has a `from_stored` constructor for reading events and rows. It does not validate:
//! rules and Unicode tables change over the years, and stored values were valid when they were written.

mod email;
mod erasable;
mod erasure_reason;
mod hex;
mod hyphenated_uuid;
mod moment;
mod password_hash;
mod password_policy;
mod reason;
mod restriction_level;
mod revocation_reason;
mod role;
mod search_term;
mod session_id;
mod text;
mod token_id;
mod token_name;
mod token_secret_hash;
mod user_agent;
mod user_id;
mod username;
mod username_policy;
mod webhook_id;
mod webhook_secret;
mod webhook_url;

pub use email::{EmailAddress, EmailError, MAX_EMAIL_OCTETS};
pub use erasable::Erasable;
pub use erasure_reason::{ErasureReason, UnknownErasureReason};
pub use moment::{Moment, MomentError};
pub use password_hash::{InvalidPasswordHash, MAX_PASSWORD_HASH_BYTES, PasswordHash};
pub use password_policy::{MAX_PASSWORD_LENGTH, PasswordError, PasswordPolicy};
pub use reason::{MAX_REASON_LENGTH, Reason, ReasonError};
pub use restriction_level::{RestrictionLevel, UnknownRestrictionLevel};
pub use revocation_reason::{RevocationReason, UnknownRevocationReason};
pub use role::{Role, UnknownRole};
pub use search_term::SearchTerm;
pub use session_id::{SessionId, SessionIdError};
pub use token_id::{TokenId, TokenIdError};
pub use token_name::{MAX_TOKEN_NAME_LENGTH, TokenName, TokenNameError};
pub use token_secret_hash::{TokenSecretHash, TokenSecretHashError};
pub use user_agent::{MAX_USER_AGENT_LENGTH, UserAgent};
pub use user_id::{UserId, UserIdError};
pub use username::{MAX_USERNAME_LENGTH, SKELETON_RULES, Username, UsernameError};
pub use username_policy::UsernamePolicy;
pub use webhook_id::{WebhookId, WebhookIdError};
pub use webhook_secret::{WEBHOOK_SECRET_OCTETS, WebhookSecret, WebhookSecretError};
pub use webhook_url::{MAX_WEBHOOK_URL_LENGTH, WebhookUrl, WebhookUrlError};

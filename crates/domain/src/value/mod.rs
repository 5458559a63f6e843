//! Values that cannot be wrong: text is parsed once, at the border, and the type is the proof.
//!
//! What belongs here: one type per file, with the rule it carries and the fault it reports. What does not:
//! anything that needs a user's past ([`crate::user`]), and the words in which an API tells a client of a
//! fault.
//!
//! Each text type also has a `recorded` constructor for reading events and rows, public if a row holds it. It
//! judges nothing: rules and Unicode tables change over the years, and what was accepted then is a fact now.

mod email;
mod erasable;
mod erasure_reason;
mod moment;
mod password_hash;
mod password_policy;
mod reason;
mod role;
mod text;
mod user_id;
mod username;
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
pub use role::{Role, UnknownRole};
pub use user_id::{UserId, UserIdError};
pub use username::{MAX_USERNAME_LENGTH, Username, UsernameError};
pub use webhook_id::{WebhookId, WebhookIdError};
pub use webhook_secret::{WEBHOOK_SECRET_OCTETS, WebhookSecret, WebhookSecretError};
pub use webhook_url::{MAX_WEBHOOK_URL_LENGTH, WebhookUrl, WebhookUrlError};

//! Values that cannot be wrong: text is parsed once, at the border, and the type is the proof.
//!
//! What belongs here: one type per file, with the rule it carries and the fault it reports. What does not:
//! anything that needs a user's past ([`crate::user`]), and the words in which an API tells a client of a
//! fault.
//!
//! Each text type also has a `recorded` constructor for reading events and rows, public if a row holds it. It judges
//! nothing:
//! rules and Unicode tables change over the years, and what was accepted then is a fact now.

mod email;
mod erasure_reason;
mod moment;
mod password_hash;
mod password_policy;
mod personal;
mod reason;
mod role;
mod text;
mod user_id;
mod username;
mod webhook_id;
mod webhook_secret;
mod webhook_url;

pub use email::{EmailAddress, EmailFault, MAX_EMAIL_OCTETS};
pub use erasure_reason::{ErasureReason, UnknownErasureReason};
pub use moment::{Moment, MomentFault};
pub use password_hash::{MAX_PASSWORD_HASH_BYTES, PasswordHash, PasswordHashFault};
pub use password_policy::{MAX_PASSWORD_LENGTH, PasswordFault, PasswordPolicy};
pub use personal::Personal;
pub use reason::{MAX_REASON_LENGTH, Reason, ReasonFault};
pub use role::{Role, UnknownRole};
pub use user_id::{UserId, UserIdFault};
pub use username::{MAX_USERNAME_LENGTH, Username, UsernameFault};
pub use webhook_id::{WebhookId, WebhookIdFault};
pub use webhook_secret::{WEBHOOK_SECRET_OCTETS, WebhookSecret, WebhookSecretFault};
pub use webhook_url::{MAX_WEBHOOK_URL_LENGTH, WebhookUrl, WebhookUrlFault};

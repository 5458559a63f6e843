//! The identity rules of Aegis.
//!
//! Everything here is a pure function of its arguments: no clock, no randomness, no I/O. Time, ids and
//! password hashes are arguments of commands. The modules, in the order in which a command passes through
//! them:
//!
//! 1. [`value`]: text from outside is parsed into types that enforce the rules;
//! 2. [`user`]: a command is decided against the state (`decide`), and its events are folded into the state
//!    (`evolve`);
//! 3. [`system`]: the stream of the whole deployment: the active administrators, the last of whom cannot be
//!    removed, and the events that projections skip;
//! 4. [`webhook`]: the webhook aggregate;
//! 5. [`login`]: the logins of a user;
//! 6. [`token`]: the machine token aggregate;
//! 7. [`authority`]: which roles an actor needs for an event, and which ones users and machine tokens hold;
//! 8. [`payload`]: the stored form of an event, with personal data separated;
//! 9. `upcast`: upcasters: how events of earlier releases are converted to the current layout.
//!
//! The functions `decide`, `evolve` and `fold` exist once per aggregate and are called by its name:
//! `user::decide`, `system::evolve`. All types are re-exported at the root of the crate.

#![warn(missing_docs)]

pub mod authority;
mod event_types;
mod fields;
pub mod login;
pub mod payload;
pub mod system;
pub mod token;
mod upcast;
pub mod user;
pub mod value;
pub mod webhook;

#[cfg(test)]
mod samples;

pub use authority::{
    Authority, Principal, SYSTEM_ACTOR, WEBHOOK_OWNER_ROLES, is_permitted, may_record_login, required_roles,
};
pub use event_types::{
    current_event_type, is_erasing_event_type, known_event_types, known_schemas, stored_event_types,
};
pub use login::{
    LatestLogin, LoginClient, LoginCommand, LoginEvent, LoginFailure, SPELL_TIMEOUT, UnknownLoginFailure,
};
pub use payload::{DecodeError, DecodeProblem, EventPayload};
pub use system::{
    AdministratorChange, LastAdministrator, SYSTEM_STREAM, Skip, System, SystemEvent, administrator_change,
};
pub use token::{ActiveToken, Token, TokenCommand, TokenEvent, TokenRejection};
pub use user::{Account, ClaimKind, Rejection, User, UserCommand, UserEvent};
pub use value::{
    EmailAddress, EmailError, Erasable, ErasureReason, InvalidPasswordHash, MAX_EMAIL_OCTETS,
    MAX_PASSWORD_HASH_BYTES, MAX_PASSWORD_LENGTH, MAX_REASON_LENGTH, MAX_TOKEN_NAME_LENGTH,
    MAX_USER_AGENT_LENGTH, MAX_USERNAME_LENGTH, MAX_WEBHOOK_URL_LENGTH, Moment, MomentError, PasswordError,
    PasswordHash, PasswordPolicy, Reason, ReasonError, RestrictionLevel, RevocationReason, Role,
    SKELETON_RULES, SearchTerm, SessionId, SessionIdError, TokenId, TokenIdError, TokenName, TokenNameError,
    TokenSecretHash, TokenSecretHashError, UnknownErasureReason, UnknownRestrictionLevel,
    UnknownRevocationReason, UnknownRole, UserAgent, UserId, UserIdError, Username, UsernameError,
    UsernamePolicy, WEBHOOK_SECRET_OCTETS, WebhookId, WebhookIdError, WebhookSecret, WebhookSecretError,
    WebhookUrl, WebhookUrlError,
};
pub use webhook::{
    ActiveWebhook, BatchSize, MAX_QUEUED_REPLAYS, Replay, SuspensionReason, Webhook, WebhookCommand,
    WebhookEvent, WebhookRejection, WebhookSlot,
};

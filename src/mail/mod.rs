//! Mails to users: verification of addresses, reset of passwords, invitations, and notices of changes.
//!
//! The log is the outbox of mails, as it is of webhooks. In the order in which an event passes through:
//!
//! - `mailer`: on the node that holds the lease, reads the log from a cursor and retries mails that are not accepted;
//! - `progress`: the cursor and the mails that are not sent yet, recorded beside the log;
//! - `attempt`: one attempt at one mail;
//! - `composer`: decides from the log who gets which mail (`content`), and issues its token;
//! - `templates`: the texts, which operators can replace;
//! - `message`: the MIME message;
//! - `transport`: the port through which mails leave, with `smtp` and `outbox`.
//!
//! Requests for mails, and what their tokens permit, belong to `domain`, `command` and `http/auth`.

mod attempt;
mod composer;
mod content;
mod mailer;
mod message;
mod metrics;
mod outbox;
mod progress;
mod setup;
mod setup_error;
mod smtp;
mod templates;
#[cfg(test)]
mod tests;
mod transport;

pub use setup::MailService;
pub use setup_error::MailSetupError;
pub use templates::TemplateError;

/// How many mails are handed over at once, so that one that the relay takes long to answer delays no other.
const MAX_IN_HAND: usize = 4;

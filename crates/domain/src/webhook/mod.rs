//! A webhook: who is sent which events where, signed with what.
//!
//! What has been delivered is no fact of the log: it would grow with every delivery. It is kept beside it,
//! and every delivery can be made again from the log.

mod codec;
mod command;
mod decide;
mod event;
mod evolve;
mod state;

#[cfg(test)]
mod tests;

pub use command::WebhookCommand;
pub use decide::{WebhookRejection, decide};
pub use event::{SuspensionReason, WebhookEvent};
pub use evolve::{evolve, fold};
pub use state::{ActiveWebhook, Replay, Webhook};

//! The webhook aggregate: owner, URL, event types and secrets of a webhook, and whether it is suspended.
//!
//! Delivery attempts and cursors are not events, since the log would grow with every delivery. They are
//! stored separately, and every delivery can be repeated from the log.

mod batch_size;
mod codec;
mod command;
mod decide;
mod event;
mod evolve;
mod slot;
mod state;

#[cfg(test)]
mod tests;

pub use batch_size::BatchSize;
pub use command::WebhookCommand;
pub use decide::{WebhookRejection, decide};
pub use event::{SuspensionReason, WebhookEvent};
pub use evolve::{evolve, fold};
pub use slot::WebhookSlot;
pub use state::{ActiveWebhook, MAX_QUEUED_REPLAYS, Replay, Webhook};

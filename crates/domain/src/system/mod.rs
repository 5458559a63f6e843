//! The system aggregate: facts about the whole deployment, in one stream: the active administrators, and the
//! events that projections skip.
//!
//! A user's stream cannot show whether another administrator remains. A command that adds or removes an
//! administrator therefore also appends to this stream, with an expected version (optimistic concurrency). Of
//! two concurrent commands that each remove one of the last two administrators, one conflicts, is decided
//! again and rejected.

mod change;
mod codec;
mod decide;
mod event;
mod evolve;
mod skip;
mod state;

#[cfg(test)]
mod properties;
#[cfg(test)]
mod tests;

pub use change::{AdministratorChange, administrator_change};
pub use decide::{LastAdministrator, decide};
pub use event::SystemEvent;
pub use evolve::{evolve, fold};
pub use skip::{Skip, decide_skip};
pub use state::System;

/// Name of the stream.
pub const SYSTEM_STREAM: &str = "system";

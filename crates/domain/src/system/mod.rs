//! What concerns the whole installation, in one stream: who the active administrators are, and which events
//! an operator lets a projection go on without.
//!
//! Each user's stream can say that its user is an administrator; none can say that another remains. A command
//! that makes or unmakes an administrator therefore also appends to this stream, at an exact version. Of two
//! commands that each remove one of the last two administrators, one conflicts, is decided again and
//! rejected.

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

/// The name of the stream.
pub const SYSTEM_STREAM: &str = "system";

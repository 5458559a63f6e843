//! The logins of a user: who knew the password, and who did not. They have a stream of their own beside that of
//! the user, whose version they do not change.
//!
//! Failures are coalesced into spells: a spell begins with the first failure and ends with the next success, or
//! when no failure has come for [`SPELL_TIMEOUT`]. What the log says decides whether a spell is recorded, so the
//! number of events is bounded however many nodes see the failures.

mod codec;
mod decide;
mod event;

#[cfg(test)]
mod tests;

pub use decide::{LatestLogin, LoginCommand, SPELL_TIMEOUT, decide};
pub use event::{LoginClient, LoginEvent, LoginFailure, UnknownLoginFailure};

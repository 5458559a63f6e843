//! The user aggregate: the account of one user, with one event stream per user.
//!
//! Rules that involve other users do not belong here: uniqueness of e-mail addresses and usernames is
//! enforced by the event store through unique claims, and the last administrator by [`crate::system`].

mod claim;
mod codec;
mod command;
mod decide;
mod event;
mod evolve;
mod state;

#[cfg(test)]
mod mail_tests;
#[cfg(test)]
mod properties;
#[cfg(test)]
mod tests;
#[cfg(test)]
mod wire_format;

pub use claim::ClaimKind;
pub use command::UserCommand;
pub use decide::{Rejection, decide};
pub use event::UserEvent;
pub use evolve::{evolve, fold};
pub use state::{Account, User};

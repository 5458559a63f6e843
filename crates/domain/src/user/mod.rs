//! A user's account, from sign-up on: one stream of events per user.
//!
//! What belongs here: what one user's past allows. What does not: rules that look at other users. That an
//! e-mail address belongs to one user only is kept by the event store, through the claims an event takes;
//! that an administrator remains is kept by [`crate::system`].

mod claim;
mod codec;
mod command;
mod decide;
mod event;
mod evolve;
mod state;

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

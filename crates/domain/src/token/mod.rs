//! The machine token aggregate: name, roles and expiry of a token, the hash of its secret, and whether it is
//! revoked.
//!
//! The use of a token is an event at most once a day.

mod codec;
mod decide;
mod event;
mod state;

#[cfg(test)]
mod tests;

pub use decide::{TokenCommand, TokenRejection, decide};
pub use event::TokenEvent;
pub use state::{ActiveToken, Token, evolve};

//! Webhooks: events of the log, sent to whoever asked for them, in order, until they arrive.
//!
//! In the order in which an event passes through: `dispatcher` says, under a lease, which node delivers, and has a `courier`
//! for each webhook; that one reads the log from where its `book` says it is, makes a `message` of each event, with a
//! `signature`, and hands it to the `sender`, which goes to no address that `address` does not permit; what fails is tried
//! again on the `schedule`. `tools` is what all of them need.
//!
//! What does not belong here: what a webhook is (the `domain`), and how one is registered (`http/webhooks`, `cli/webhooks`).

mod address;
pub(crate) mod book;
mod courier;
pub(crate) mod dispatcher;
pub(crate) mod message;
mod schedule;
pub(crate) mod sender;
pub(crate) mod signature;
mod tools;

pub use sender::Sender;
pub use tools::Tools;

/// How many webhooks one user may have.
pub(crate) const MOST: usize = 100;
/// How long the secret of before is valid too, after a rotation, in hours.
pub(crate) const BOTH_SECRETS_HOURS: i64 = 24;

//! Webhooks: events of the log, sent to whoever asked for them, in order, until they arrive.
//!
//! In the order in which an event passes through: `dispatcher` says, under a lease, which node delivers, and has a `courier`
//! for each webhook; that one reads the log from where its `book` says it is, makes a `message` of each event, with a
//! `signature`, and hands it to the `sender` in one `attempt` after another; that goes to no address that `address` does not
//! permit, and what fails is tried again on the `schedule`. `tools` is what all of them need, `view` how it is shown.
//!
//! What does not belong here: what a webhook is (the `domain`), and how one is registered (`http/webhooks`, `cli/webhooks`).

mod address;
mod attempt;
mod book;
mod courier;
pub(crate) mod dispatcher;
mod message;
mod schedule;
mod sender;
pub(crate) mod signature;
mod tools;
mod view;

use domain::{Moment, MomentFault, Role};
use jiff::{SignedDuration, Timestamp};
use projections::UserRow;

pub use sender::Sender;
pub use tools::Tools;
pub(crate) use view::WebhookView;

/// Who may have webhooks: whoever holds one of these roles, and may log in.
pub(crate) const OWNERS: [Role; 2] = [Role::Admin, Role::Subscriber];
/// How many webhooks one user may have.
pub(crate) const MOST: usize = 100;
/// How long the secret of before is valid too, after a rotation.
const BOTH_SECRETS: SignedDuration = SignedDuration::from_hours(24);

/// Whether that user may have webhooks, and be sent events.
pub(crate) fn may_own(user: &UserRow) -> bool {
    user.is_active && OWNERS.iter().any(|role| user.roles.contains(role))
}

/// When the secret of before ends, if it is replaced now.
pub(crate) fn until_both_end(now: Timestamp) -> Result<Moment, MomentFault> {
    Moment::from_millisecond(
        now.as_millisecond()
            .saturating_add_unsigned(u64::try_from(BOTH_SECRETS.as_millis()).unwrap_or_default()),
    )
}

//! Webhooks: events of the log, sent to whoever asked for them, in order, until they arrive.
//!
//! In the order in which an event passes through: `dispatcher` says, under a lease, which node delivers, and has a `delivery_worker`
//! for each webhook; that one reads the log from where its `delivery_cursor` says it is, makes a `message` of each event, with a
//! `signature`, and hands it to the `sender` in one `attempt` after another; that goes to no address that `egress_policy` does not
//! permit, and what fails is tried again on the `retry_policy`. `delivery_context` is what all of them need, `view` how it is shown.
//!
//! What does not belong here: what a webhook is (the `domain`), and how one is registered (`http/webhooks`, `cli/webhooks`).

mod attempt;
mod delivery_context;
mod delivery_cursor;
mod delivery_worker;
pub(crate) mod dispatcher;
mod egress_policy;
mod message;
mod retry_policy;
mod sender;
pub(crate) mod signature;
mod view;

use domain::{Moment, MomentError, Role};
use jiff::{SignedDuration, Timestamp};
use projections::UserRow;

pub use delivery_context::DeliveryContext;
pub use sender::WebhookSender;
pub(crate) use view::WebhookView;

/// Who may have webhooks: whoever holds one of these roles, and may log in.
pub(crate) const OWNER_ROLES: [Role; 2] = [Role::Admin, Role::Subscriber];
/// How many webhooks one user may have.
pub(crate) const MAX_WEBHOOKS_PER_USER: usize = 100;
/// How long the secret of before is valid too, after a rotation.
const SECRET_OVERLAP: SignedDuration = SignedDuration::from_hours(24);

/// Whether that user may have webhooks, and be sent events.
pub(crate) fn may_own(user: &UserRow) -> bool {
    user.is_active && OWNER_ROLES.iter().any(|role| user.roles.contains(role))
}

/// When the secret of before ends, if it is replaced now.
pub(crate) fn previous_secret_expiry(now: Timestamp) -> Result<Moment, MomentError> {
    Moment::from_millisecond(
        now.as_millisecond()
            .saturating_add_unsigned(u64::try_from(SECRET_OVERLAP.as_millis()).unwrap_or_default()),
    )
}

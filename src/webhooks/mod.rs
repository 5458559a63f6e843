//! Webhooks: delivers events of the log to HTTP endpoints, in order and at least once (Standard Webhooks).
//!
//! The log is the outbox of webhooks: an append writes nothing for them, and a delivery cursor per webhook
//! records how far the log has been delivered. In the order in which an event passes through:
//!
//! - `dispatcher`: leader election decides which node delivers;
//! - `worker_pool`: runs one worker per active webhook on that node;
//! - `delivery_worker`: reads the log from the `delivery_cursor` and retries failed attempts by the
//!   `retry_policy`;
//! - `cursor_recorder`: writes the cursors of all workers together;
//! - `attempt`: one request: a signed `message`, handed to the `sender`, which applies the `egress_policy`
//!   (SSRF guard).
//!
//! `delivery_context` is what all of them share; `limits` bounds requests about webhooks. Webhook rules belong to `domain`, managing webhooks to
//! `http/webhooks` and `cli/webhooks`.

mod attempt;
mod connection_probe;
mod cursor_recorder;
mod delivery_context;
mod delivery_cursor;
mod delivery_error;
mod delivery_state;
mod delivery_worker;
pub(crate) mod dispatcher;
mod egress_policy;
pub(crate) mod limits;
mod lookups;
mod message;
mod restore;
mod retry_policy;
mod retry_schedule;
mod send_error;
mod sender;
mod shards;
mod shared_reader;
mod status;
mod worker_pool;

pub use delivery_context::DeliveryContext;
pub(crate) use delivery_context::{OWNER_ROLES, may_own};
pub use limits::WebhookLimits;
pub(crate) use message::{encode_secret, previous_secret_expiry};
pub(crate) use retry_policy::retry_delay;
pub use sender::WebhookSender;
pub(crate) use status::{FailingDelivery, WebhookStatus, completed_replays};

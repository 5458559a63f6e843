//! The service under test, seen from outside: the real binary in an environment of its own, spoken to over HTTP.
//! Nothing here knows how the service is made; whoever tests it says where its executable is.

mod client;
mod deployment;
mod process;
mod sse;
mod timeouts;
mod webhook_receiver;

pub use client::{Client, Request, Response};
pub use deployment::{Deployment, MASTER_KEY, SECRET_KEY};
pub use process::{CommandOutput, ServiceProcess};
pub use sse::{EventStream, SseItem};
pub use timeouts::{DEFAULT_TIMEOUT, eventually, eventually_within, run_test, run_test_with_timeout};
pub use webhook_receiver::{ReceivedDelivery, Reply, WebhookReceiver};

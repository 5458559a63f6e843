//! Black-box tests of the service: the real binary as a child process with its own environment, accessed over
//! HTTP. The caller passes the path of the executable; nothing here depends on the code of the service.

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

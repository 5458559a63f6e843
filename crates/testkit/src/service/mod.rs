//! The service under test, seen from outside: the real binary in an environment of its own, spoken to over HTTP.
//! Nothing here knows how the service is made; whoever tests it says where its executable is.

mod client;
mod installation;
mod patience;
mod process;
mod receiver;
mod sse;

pub use client::{Answer, Client, Request};
pub use installation::{Finished, Installation, MASTER_KEY, SECRET_KEY};
pub use patience::{PATIENCE, until, until_within, within, within_limit};
pub use process::Service;
pub use receiver::{Delivery, Receiver, Reply};
pub use sse::{EventStream, Item};

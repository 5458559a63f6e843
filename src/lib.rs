//! The Aegis service. In the order in which a request passes through: [`http`] turns it into a command or a query;
//! [`command`] loads, decides and appends; the `projections` crate folds what was appended into rows; [`query`] reads
//! them. [`crypto`] hashes passwords and signs tokens, [`config`] finds the settings, [`cli`] is the command line, and
//! [`app`] puts it all together. [`cloud_event`] is how an event is shown,
//! to whoever may see it, [`mod@export`] takes the log elsewhere, and
//! [`webhooks`] send it, event by event, to whoever asked for it.

pub mod app;
pub mod cli;
pub mod cloud_event;
pub mod command;
pub mod config;
pub mod crypto;
pub mod export;
pub mod http;
pub mod query;
pub mod webhooks;

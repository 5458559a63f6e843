//! The Aegis service. In the order of a request: [`http`] turns it into a command or a query; [`command`]
//! loads, decides and appends; the `projections` crate applies the events to read models; [`query`] reads
//! them. [`crypto`] hashes passwords and signs tokens, [`config`] reads the settings, [`cli`] is the command
//! line, [`app`] the composition root, and [`authority`] reads from the log who may do what. [`cloud_event`]
//! is the public form of an event, [`mod@export`] writes the log to files, [`webhooks`] deliver it, and [`mail`]
//! sends the mails that follow from it.

pub mod app;
pub mod authority;
pub mod cli;
pub mod cloud_event;
pub mod command;
pub mod config;
pub mod crypto;
pub mod export;
pub mod http;
mod leader_job;
mod limits;
mod logins;
pub mod mail;
pub mod query;
pub mod webhooks;

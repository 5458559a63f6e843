//! Settings. In the order in which they are found: [`sources`] says where to look; `dotenv` reads `.env`; [`values`]
//! takes for each setting of the [`catalogue`] the first text; `parse`, with `syntax` and `network`, checks them into
//! [`settings`];
//! `data_folder` keeps the keys that the embedded database makes itself, `master_keys` knows which of them are of before a
//! rotation; [`load`] puts it together, [`show`] tells
//! operators. What is wrong is a [`fault`].
//!
//! What does not belong here: what a setting does.

pub mod catalogue;
mod data_folder;
#[cfg(test)]
mod documented;
mod dotenv;
pub mod fault;
pub mod load;
mod master_keys;
mod network;
mod parse;
pub mod settings;
pub mod show;
pub mod sources;
mod syntax;
#[cfg(test)]
mod tests;
pub mod values;

pub use data_folder::UnusableFolder;
pub use fault::{Fault, Faults, Origin};
pub use load::{BenchSettings, CommandSettings, Loaded, Unusable};
pub use master_keys::{HeldKey, KeyFiles, MasterKeySetting};
pub use network::Network;
pub use settings::{
    AdministratorSettings, DatabaseSettings, HttpSettings, LogFormat, LogSettings, PasswordSettings, Secret,
    Settings, TokenSettings, WebhookSettings,
};
pub use sources::Sources;

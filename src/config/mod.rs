//! Settings. In the order in which they are found: [`sources`] says where to look; `dotenv` reads `.env`; [`values`]
//! takes for each setting of the [`definitions`] the first text; `parse`, with `syntax` and `network`, checks them into
//! [`settings`];
//! `data_folder` keeps the keys that the embedded database makes itself, `master_keys` knows which of them are of before a
//! rotation; [`load`] puts it together, [`show`] tells
//! operators. What is wrong is a [`error`].
//!
//! What does not belong here: what a setting does.

mod data_folder;
pub mod definitions;
#[cfg(test)]
mod documented;
mod dotenv;
pub mod error;
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

pub use data_folder::DataFolderError;
pub use error::{InvalidSetting, InvalidSettings, SettingSource};
pub use load::{BenchSettings, CommandSettings, ConfigError, Loaded};
pub use master_keys::{KeyFiles, LoadedKey, MasterKeySetting};
pub use network::Network;
pub use settings::{
    AdministratorSettings, DatabaseSettings, HttpSettings, LogFormat, LogSettings, PasswordSettings, Secret,
    Settings, TokenSettings, WebhookSettings,
};
pub use sources::ConfigSources;

//! Settings. [`definitions`] is the table of all of them; [`ConfigSources`] and `.env` (`dotenv`) provide
//! their texts, `parse` has a parser per kind of value, [`load`] puts the [`settings`] of a process together
//! and [`show`] prints them. `data_folder` stores the keys that are generated for the embedded database,
//! `master_keys` finds the current and the previous master keys.
//!
//! What a setting does is not decided here.

mod data_folder;
pub mod definitions;
mod dotenv;
mod error;
pub mod load;
mod master_keys;
mod parse;
mod redaction;
pub mod settings;
pub mod show;
mod sources;
#[cfg(test)]
mod tests;

pub use data_folder::{DATABASE_FILE, DataFolderError};
pub use error::{InvalidSetting, InvalidSettings, SettingProblem, SettingSource};
pub use load::{BenchSettings, CommandSettings, ConfigError, Loaded, Settings};
pub use master_keys::{KeyFiles, LoadedKey, MasterKeySetting};
pub use redaction::{RedactedStderr, redact};
pub use settings::{
    AdministratorSettings, DatabaseSettings, HttpSettings, LogFormat, LogSettings, LoginEventSetting,
    MailLanguage, MailSettings, MailTransportSetting, PasswordSettings, Secret, SessionSettings,
    SmtpCredentials, SmtpSettings, TokenSettings, WebhookSettings,
};
pub use sources::ConfigSources;

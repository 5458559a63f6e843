//! Settings: [`settings`] says what there is, `load` finds and checks it.

pub mod settings;

pub use settings::{
    AdministratorSettings, DatabaseSettings, HttpSettings, LogFormat, LogSettings, MasterKeySetting, PasswordSettings,
    Secret, Settings, TokenSettings,
};

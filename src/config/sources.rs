//! Where settings are looked for, as one value: tests make their own, and only [`ConfigSources::from_process`] asks the
//! machine.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::fs;
use std::io::{self, ErrorKind};
use std::path::PathBuf;

use super::error::{InvalidSetting, InvalidSettings, SettingSource};

/// The environment and the two files, best first.
#[derive(Clone, Debug, Default)]
pub struct ConfigSources {
    /// The environment variables whose names are text.
    pub environment: BTreeMap<String, OsString>,
    /// The text of `.env`, if there is one.
    pub dotenv: Option<String>,
    /// The text of `aegis.toml`, if there is one.
    pub toml: Option<String>,
    /// The working folder: paths of files with secrets are relative to it.
    pub folder: PathBuf,
}

impl ConfigSources {
    /// What this process was given, and what lies in its working folder.
    ///
    /// # Errors
    /// [`InvalidSettings`] if one of the files is there but cannot be read.
    pub fn from_process() -> Result<Self, InvalidSettings> {
        let folder = std::env::current_dir().unwrap_or_else(|_| PathBuf::from("."));
        let mut faults = Vec::new();
        let mut read = |name: &str, origin: SettingSource| {
            optional(fs::read_to_string(folder.join(name))).unwrap_or_else(|error| {
                let file = folder.join(name);
                faults.push(InvalidSetting::new(
                    file.display().to_string(),
                    origin,
                    format!("cannot be read: {error}"),
                ));
                None
            })
        };
        let dotenv = read(".env", SettingSource::DotEnv);
        let toml = read("aegis.toml", SettingSource::Toml);
        let environment =
            std::env::vars_os().filter_map(|(name, value)| Some((name.into_string().ok()?, value))).collect();
        if faults.is_empty() {
            Ok(Self { environment, dotenv, toml, folder })
        } else {
            Err(InvalidSettings(faults))
        }
    }

    /// The text of an environment variable that is no setting; nothing if it is unset, empty or no text.
    #[must_use]
    pub fn variable(&self, name: &str) -> Option<&str> {
        self.environment.get(name)?.to_str().filter(|text| !text.is_empty())
    }
}

fn optional(read: io::Result<String>) -> io::Result<Option<String>> {
    match read {
        Ok(text) => Ok(Some(text)),
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error),
    }
}

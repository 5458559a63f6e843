//! What is wrong with the settings: every fault at once, each with its setting, its source and what to do. Never a
//! value that may be secret.

use std::fmt;
use std::path::PathBuf;

/// Where a setting comes from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SettingSource {
    /// The environment.
    Environment,
    /// `.env` in the working folder.
    DotEnv,
    /// `aegis.toml` in the working folder.
    Toml,
    /// A file that the setting `NAME_FILE` names.
    SecretFile(PathBuf),
    /// A file of the data folder.
    DataFolder(PathBuf),
    /// Nobody has set it.
    Default,
}

impl fmt::Display for SettingSource {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Environment => out.write_str("environment"),
            Self::DotEnv => out.write_str(".env"),
            Self::Toml => out.write_str("aegis.toml"),
            Self::SecretFile(path) | Self::DataFolder(path) => path.display().fmt(out),
            Self::Default => out.write_str("default"),
        }
    }
}

/// One thing that is wrong.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct InvalidSetting {
    /// The setting, or the file and line.
    pub subject: String,
    /// Where it was set.
    pub origin: SettingSource,
    /// What is wrong with it, and what to do.
    pub problem: String,
}

impl InvalidSetting {
    /// A fault of what `origin` says about `subject`.
    pub fn new(subject: impl Into<String>, origin: SettingSource, problem: impl Into<String>) -> Self {
        Self { subject: subject.into(), origin, problem: problem.into() }
    }
}

impl fmt::Display for InvalidSetting {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { subject, origin, problem } = self;
        match origin {
            SettingSource::Default => write!(out, "{subject}: {problem}"),
            origin => write!(out, "{subject} ({origin}): {problem}"),
        }
    }
}

/// All that is wrong.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct InvalidSettings(pub Vec<InvalidSetting>);

impl fmt::Display for InvalidSettings {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0.as_slice() {
            [fault] => write!(out, "the settings cannot be used: {fault}"),
            faults => {
                write!(out, "the settings cannot be used, {} faults:", faults.len())?;
                faults.iter().try_for_each(|fault| write!(out, "\n  {fault}"))
            }
        }
    }
}

impl std::error::Error for InvalidSettings {}

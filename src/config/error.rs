//! Errors of the configuration. All invalid settings are reported at once, each with its source and what to
//! do, and never with a value that may be secret.

use std::fmt;
use std::path::PathBuf;

/// How to make a key of 32 bytes.
pub(super) const KEY_HINT: &str = "`openssl rand -base64 32` generates one";

/// Where the value of a setting comes from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SettingSource {
    Environment,
    /// `.env` in the working directory.
    DotEnv,
    /// `aegis.toml` in the working directory.
    Toml,
    /// The file that the setting `NAME_FILE` names.
    SecretFile(PathBuf),
    /// A key file in the data directory.
    DataFolder(PathBuf),
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

/// All invalid settings of a process.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct InvalidSettings(pub Vec<InvalidSetting>);

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct InvalidSetting {
    /// The name of the setting, or the file or line that cannot be read.
    pub subject: String,
    pub source: SettingSource,
    pub problem: SettingProblem,
}

#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SettingProblem {
    #[error("unknown setting; did you mean {closest}? `aegis config` lists all settings")]
    Unknown { closest: String },
    /// MongoDB needs a key that was not given: all nodes must share it, so none is generated.
    #[error(
        "not set, but required with MongoDB, and every node needs the same one: {KEY_HINT}. Keep it apart \
         from the database"
    )]
    RequiredWithMongo,
    #[error("not set, but {0} is: set both or neither")]
    RequiredWith(&'static str),
    #[error("not set, but {needed_by} is: set it, as in {}={example}", .name)]
    NeededBy { name: &'static str, needed_by: &'static str, example: &'static str },
    #[error("set together with {0}: remove one of the two")]
    ConflictsWith(String),
    #[error("not valid UTF-8")]
    NotUtf8,
    #[error("not a string, an integer, a boolean or a list of strings")]
    WrongType,
    #[error("{0}")]
    Syntax(String),
    #[error("cannot read {}: {reason}", path.display())]
    Unreadable { path: PathBuf, reason: String },
    #[error(
        "{} belongs to the user with id {owner}, neither to the one who runs Aegis nor to root, and is not obeyed: \
         change its owner, or start Aegis in another directory",
        path.display()
    )]
    ForeignOwner { path: PathBuf, owner: u32 },
    /// A secret would get into a setting that is shown.
    #[error("`${{{0}}}` is a secret, which another setting must not repeat: write the value itself")]
    RepeatsSecret(String),
    #[error("{} is empty", .0.display())]
    EmptyFile(PathBuf),
    /// What the parser of the setting reported.
    #[error("{0}")]
    Invalid(String),
}

impl InvalidSetting {
    pub(super) fn new(subject: impl Into<String>, source: SettingSource, problem: SettingProblem) -> Self {
        Self { subject: subject.into(), source, problem }
    }
}

impl fmt::Display for InvalidSetting {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { subject, source, problem } = self;
        match source {
            SettingSource::Default => write!(out, "{subject}: {problem}"),
            source => write!(out, "{subject} ({source}): {problem}"),
        }
    }
}

impl InvalidSettings {
    /// `Ok` if there are none.
    pub(super) fn check(invalid: Vec<InvalidSetting>) -> Result<(), Self> {
        if invalid.is_empty() { Ok(()) } else { Err(Self(invalid)) }
    }
}

impl fmt::Display for InvalidSettings {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0.as_slice() {
            [invalid] => write!(out, "invalid setting: {invalid}"),
            all => {
                write!(out, "{} invalid settings:", all.len())?;
                all.iter().try_for_each(|invalid| write!(out, "\n  {invalid}"))
            }
        }
    }
}

impl std::error::Error for InvalidSettings {}

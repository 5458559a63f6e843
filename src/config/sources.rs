//! Where settings come from: the environment, then `.env`, then `aegis.toml`. For each setting the first
//! source that names it wins. An empty value counts as not set, but still wins, so that `MONGODB_URL=` before
//! a command selects the embedded database whatever the files say.

use std::collections::{BTreeMap, HashMap};
use std::ffi::OsString;
use std::fs::{self, File};
use std::io::{self, ErrorKind, Read};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use rustix::process::geteuid;
use zeroize::Zeroizing;

use super::definitions::{self, Definition};
use super::dotenv;
use super::error::{InvalidSetting, InvalidSettings, SettingProblem, SettingSource};

const ROOT: u32 = 0;

/// The contents of all sources. Only [`ConfigSources::from_process`] reads the real ones; tests make their
/// own.
#[derive(Clone, Debug, Default)]
pub struct ConfigSources {
    pub environment: BTreeMap<String, OsString>,
    /// The text of `.env`.
    pub dotenv: Option<String>,
    /// The text of `aegis.toml`.
    pub toml: Option<String>,
    /// The working directory; paths of secret files are relative to it.
    pub folder: PathBuf,
}

impl ConfigSources {
    /// The environment of this process and the files in its working directory.
    ///
    /// # Errors
    /// [`InvalidSettings`] if one of the files exists but cannot be read, or belongs to another user.
    pub fn from_process() -> Result<Self, InvalidSettings> {
        let folder = std::env::current_dir().unwrap_or_else(|_| PathBuf::from("."));
        let mut invalid = Vec::new();
        let mut read = |name: &str, source: SettingSource| {
            let path = folder.join(name);
            read_own(&path, geteuid().as_raw()).unwrap_or_else(|problem| {
                invalid.push(InvalidSetting::new(name, source, problem));
                None
            })
        };
        let (dotenv, toml) = (read(".env", SettingSource::DotEnv), read("aegis.toml", SettingSource::Toml));
        InvalidSettings::check(invalid)?;
        let environment =
            std::env::vars_os().filter_map(|(name, value)| Some((name.into_string().ok()?, value))).collect();
        Ok(Self { environment, dotenv, toml, folder })
    }

    /// An environment variable that is not a setting; `None` if it is unset, empty or not text.
    #[must_use]
    pub fn variable(&self, name: &str) -> Option<&str> {
        self.environment.get(name)?.to_str().filter(|text| !text.is_empty())
    }
}

/// The text of a settings file; `None` if it does not exist. It decides what Aegis does,
/// so one that belongs neither to `user` nor to root is refused: it may lie in a folder that others can write to.
fn read_own(path: &Path, user: u32) -> Result<Option<String>, SettingProblem> {
    let read = || -> io::Result<(u32, String)> {
        let mut file = File::open(path)?;
        let owner = file.metadata()?.uid();
        let mut text = String::new();
        file.read_to_string(&mut text)?;
        Ok((owner, text))
    };
    match read() {
        Ok((owner, text)) if owner == ROOT || owner == user => Ok(Some(text)),
        Ok((owner, _)) => Err(SettingProblem::ForeignOwner { path: path.to_owned(), owner }),
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
        Err(error) => Err(SettingProblem::Unreadable { path: path.to_owned(), reason: error.to_string() }),
    }
}

/// The text of a setting and its source.
#[derive(Clone)]
pub(super) struct RawValue {
    pub(super) text: Zeroizing<String>,
    pub(super) source: SettingSource,
}

/// The texts of all settings that are set.
pub(super) struct RawValues(HashMap<&'static str, RawValue>);

impl RawValues {
    pub(super) fn collect(sources: &ConfigSources, invalid: &mut Vec<InvalidSetting>) -> Self {
        let layers = [environment(sources, invalid), dotenv(sources, invalid), toml(sources, invalid)];
        for layer in &layers {
            layer.reject_unknown(invalid);
        }
        let mut values = HashMap::new();
        for definition in definitions::ALL {
            if let Some(value) = layers.iter().find_map(|layer| layer.find(definition, sources, invalid)) {
                values.insert(definition.name, value);
            }
        }
        Self(values)
    }

    /// The value of a setting unless it is unset or empty.
    pub(super) fn get(&self, definition: &Definition) -> Option<&RawValue> {
        self.0.get(definition.name).filter(|value| !value.text.is_empty())
    }

    pub(super) fn source(&self, definition: &Definition) -> SettingSource {
        self.get(definition).map_or(SettingSource::Default, |value| value.source.clone())
    }
}

/// The names and texts of one source.
struct Layer {
    source: SettingSource,
    texts: BTreeMap<String, Zeroizing<String>>,
}

impl Layer {
    fn find(
        &self,
        definition: &Definition,
        sources: &ConfigSources,
        invalid: &mut Vec<InvalidSetting>,
    ) -> Option<RawValue> {
        let mut reject = |subject: &str, problem| {
            invalid.push(InvalidSetting::new(subject, self.source.clone(), problem));
        };
        let text = self.texts.get(definition.name);
        let file_name = definition.file_name().unwrap_or_default();
        let Some(path) = self.texts.get(&file_name).filter(|path| !path.is_empty()) else {
            return Some(RawValue { text: text?.clone(), source: self.source.clone() });
        };
        if text.is_some_and(|text| !text.is_empty()) {
            reject(definition.name, SettingProblem::ConflictsWith(file_name.clone()));
        }
        let path = sources.folder.join(path.as_str());
        match fs::read_to_string(&path).map(Zeroizing::new) {
            Ok(text) => {
                // Editors add a byte order mark or a line end; neither is part of a secret.
                let text = text.strip_prefix('\u{feff}').unwrap_or(&text).trim_end();
                let text = Zeroizing::new(text.to_owned());
                if text.is_empty() {
                    reject(&file_name, SettingProblem::EmptyFile(path.clone()));
                }
                Some(RawValue { text, source: SettingSource::SecretFile(path) })
            }
            Err(error) => {
                reject(&file_name, SettingProblem::Unreadable { path, reason: error.to_string() });
                // Set, though unreadable: a value from a later source is one that was meant to be replaced.
                Some(RawValue { text: Zeroizing::default(), source: self.source.clone() })
            }
        }
    }

    /// A misspelt setting must not silently leave another at its default. In `aegis.toml`, which belongs to
    /// Aegis alone, every unknown name is an error; elsewhere those that start with `AEGIS_`.
    fn reject_unknown(&self, invalid: &mut Vec<InvalidSetting>) {
        for name in self.texts.keys() {
            let is_ours = self.source == SettingSource::Toml || name.starts_with("AEGIS_");
            if is_ours && !definitions::is_foreign(name) && !definitions::is_defined(name) {
                let problem = SettingProblem::Unknown { closest: definitions::closest_name(name) };
                invalid.push(InvalidSetting::new(name, self.source.clone(), problem));
            }
        }
    }
}

fn environment(sources: &ConfigSources, invalid: &mut Vec<InvalidSetting>) -> Layer {
    let source = SettingSource::Environment;
    let mut texts = BTreeMap::new();
    for (name, value) in &sources.environment {
        match value.to_str() {
            Some(text) => {
                texts.insert(name.clone(), Zeroizing::new(text.to_owned()));
            }
            None if definitions::is_defined(name) => {
                invalid.push(InvalidSetting::new(name, source.clone(), SettingProblem::NotUtf8));
            }
            None => {}
        }
    }
    Layer { source, texts }
}

fn dotenv(sources: &ConfigSources, invalid: &mut Vec<InvalidSetting>) -> Layer {
    let source = SettingSource::DotEnv;
    let text = sources.dotenv.as_deref().unwrap_or_default();
    let (texts, invalid_lines) =
        dotenv::parse(text, definitions::is_secret, |name| sources.variable(name).map(str::to_owned));
    invalid.extend(invalid_lines.into_iter().map(|dotenv::InvalidLine { line, problem }| {
        let problem = match problem {
            dotenv::LineProblem::Syntax => {
                let problem = "cannot be parsed: not of the form `NAME=value`, or a quote is not closed";
                SettingProblem::Syntax(problem.to_owned())
            }
            dotenv::LineProblem::RepeatsSecret(name) => SettingProblem::RepeatsSecret(name),
        };
        InvalidSetting::new(format!("line {line}"), source.clone(), problem)
    }));
    let texts = texts.into_iter().map(|(name, text)| (name, Zeroizing::new(text))).collect();
    Layer { source, texts }
}

fn toml(sources: &ConfigSources, invalid: &mut Vec<InvalidSetting>) -> Layer {
    let source = SettingSource::Toml;
    let text = sources.toml.as_deref().unwrap_or_default();
    let table = text.parse::<toml::Table>().unwrap_or_else(|error| {
        let start = error.span().map_or(0, |span| span.start);
        let line = 1 + text.bytes().take(start).filter(|byte| *byte == b'\n').count();
        // The message alone: the whole error quotes the line, which may contain a secret.
        let problem = SettingProblem::Syntax(format!("not valid TOML: {}", error.message()));
        invalid.push(InvalidSetting::new(format!("line {line}"), source.clone(), problem));
        toml::Table::new()
    });
    let mut texts = BTreeMap::new();
    for (name, value) in table {
        let text = scalar(&value);
        if text.is_none() && definitions::is_defined(&name) {
            invalid.push(InvalidSetting::new(name, source.clone(), SettingProblem::WrongType));
        } else {
            // An unknown name without text, such as that of a table, is reported as unknown.
            texts.insert(name, Zeroizing::new(text.unwrap_or_default()));
        }
    }
    Layer { source, texts }
}

fn scalar(value: &toml::Value) -> Option<String> {
    match value {
        toml::Value::String(text) => Some(text.clone()),
        toml::Value::Integer(number) => Some(number.to_string()),
        toml::Value::Boolean(boolean) => Some(boolean.to_string()),
        toml::Value::Array(items) => {
            let texts = items.iter().map(toml::Value::as_str).collect::<Option<Vec<_>>>()?;
            Some(texts.join(","))
        }
        toml::Value::Float(_) | toml::Value::Datetime(_) | toml::Value::Table(_) => None,
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::chown;

    use super::*;

    #[test]
    fn settings_file_of_another_user_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        let (path, own) = (folder.path().join(".env"), geteuid().as_raw());
        assert!(matches!(read_own(&path, own), Ok(None)));
        fs::write(&path, "AEGIS_LOG=debug").unwrap();
        assert!(matches!(read_own(&path, own), Ok(Some(_))));
        // Root alone can give a file away; a file of another user is read by another one.
        let (owner, reader) = if own == ROOT { (4711, ROOT) } else { (own, own + 1) };
        chown(&path, Some(owner), None).unwrap();
        match read_own(&path, reader) {
            Err(SettingProblem::ForeignOwner { owner: found, .. }) => assert_eq!(found, owner),
            other => panic!("{other:?}"),
        }
    }
}

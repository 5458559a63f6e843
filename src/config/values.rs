//! The settings as texts: for each, the first source that names it wins. An empty text is as good as none, but still
//! ends the search, so that `MONGODB_URL=` before a command means the embedded database whatever the files say.

use std::collections::{BTreeMap, HashMap};
use std::fs;

use zeroize::Zeroizing;

use super::definitions::{self, Setting};
use super::dotenv;
use super::error::{InvalidSetting, SettingSource};
use super::sources::ConfigSources;

/// A setting as somebody set it.
#[derive(Clone)]
pub struct RawValue {
    /// What it was set to; may be a secret.
    pub text: Zeroizing<String>,
    /// Where.
    pub origin: SettingSource,
}

/// What was found, by setting.
#[derive(Clone, Default)]
pub struct RawValues(HashMap<&'static str, RawValue>);

/// The names and texts of one source.
struct Layer {
    origin: SettingSource,
    texts: BTreeMap<String, Zeroizing<String>>,
}

impl RawValues {
    /// Searches the sources; faults are added to `faults`.
    pub(super) fn collect_raw(sources: &ConfigSources, faults: &mut Vec<InvalidSetting>) -> Self {
        let layers = [environment(sources, faults), dotenv(sources, faults), toml(sources, faults)];
        for layer in &layers {
            reject_unknown(layer, faults);
        }
        let mut values = HashMap::new();
        for setting in definitions::ALL {
            if let Some(found) = layers.iter().find_map(|layer| layer.find(setting, sources, faults)) {
                values.insert(setting.name, found);
            }
        }
        Self(values)
    }

    /// What the setting was set to; nothing if that is empty.
    #[must_use]
    pub fn get(&self, setting: &Setting) -> Option<&RawValue> {
        self.0.get(setting.name).filter(|found| !found.text.is_empty())
    }
}

impl Layer {
    fn find(
        &self,
        setting: &Setting,
        sources: &ConfigSources,
        faults: &mut Vec<InvalidSetting>,
    ) -> Option<RawValue> {
        let text = self.texts.get(setting.name);
        let file_name = setting.file_name();
        let path = file_name.as_deref().and_then(|name| self.texts.get(name)).filter(|path| !path.is_empty());
        let Some(path) = path else {
            return Some(RawValue { text: text?.clone(), origin: self.origin.clone() });
        };
        let file_name = file_name.unwrap_or_default();
        if text.is_some_and(|text| !text.is_empty()) {
            let problem = format!("set together with {file_name}: keep one of the two");
            faults.push(InvalidSetting::new(setting.name, self.origin.clone(), problem));
        }
        let file = sources.folder.join(path.as_str());
        match fs::read_to_string(&file) {
            Ok(text) => {
                let text = Zeroizing::new(text);
                let text = Zeroizing::new(text.trim_end_matches(['\n', '\r']).to_owned());
                if text.is_empty() {
                    let problem = format!("{} is empty", file.display());
                    faults.push(InvalidSetting::new(file_name, self.origin.clone(), problem));
                }
                Some(RawValue { text, origin: SettingSource::SecretFile(file) })
            }
            Err(error) => {
                let problem = format!("{} cannot be read: {error}", file.display());
                faults.push(InvalidSetting::new(file_name, self.origin.clone(), problem));
                // Set, though unreadable: looking further would use a value that somebody meant to replace.
                Some(RawValue { text: Zeroizing::default(), origin: self.origin.clone() })
            }
        }
    }
}

fn environment(sources: &ConfigSources, faults: &mut Vec<InvalidSetting>) -> Layer {
    let mut texts = BTreeMap::new();
    for (name, value) in &sources.environment {
        match value.to_str() {
            Some(text) => {
                texts.insert(name.clone(), Zeroizing::new(text.to_owned()));
            }
            None if definitions::names().any(|known| known == *name) => {
                faults.push(InvalidSetting::new(name, SettingSource::Environment, "is not text in UTF-8"));
            }
            None => {}
        }
    }
    Layer { origin: SettingSource::Environment, texts }
}

fn dotenv(sources: &ConfigSources, faults: &mut Vec<InvalidSetting>) -> Layer {
    let text = sources.dotenv.as_deref().unwrap_or_default();
    let (texts, bad) = dotenv::parse(text, |name| sources.variable(name).map(str::to_owned));
    faults.extend(bad.into_iter().map(|dotenv::InvalidLine(number)| {
        let problem = "cannot be read: it is no `NAME=value`, or a quote is not closed";
        InvalidSetting::new(format!("line {number}"), SettingSource::DotEnv, problem)
    }));
    let texts = texts.into_iter().map(|(name, text)| (name, Zeroizing::new(text))).collect();
    Layer { origin: SettingSource::DotEnv, texts }
}

fn toml(sources: &ConfigSources, faults: &mut Vec<InvalidSetting>) -> Layer {
    let mut texts = BTreeMap::new();
    let text = sources.toml.as_deref().unwrap_or_default();
    let table = text.parse::<toml::Table>().unwrap_or_else(|error| {
        let line = error
            .span()
            .map_or(1, |span| 1 + text.bytes().take(span.start).filter(|byte| *byte == b'\n').count());
        // The message alone: the whole error quotes the line, which may hold a secret.
        faults.push(InvalidSetting::new(
            format!("line {line}"),
            SettingSource::Toml,
            format!("is no TOML: {}", error.message()),
        ));
        toml::Table::new()
    });
    for (name, value) in table {
        match scalar(&value) {
            Some(text) => {
                texts.insert(name, Zeroizing::new(text));
            }
            None if definitions::names().any(|known| known == name) => {
                let problem = "must be a text, a whole number, true or false, or a list of texts";
                faults.push(InvalidSetting::new(name, SettingSource::Toml, problem));
            }
            // A table, for example: unknown, whatever is in it.
            None => {
                texts.insert(name, Zeroizing::default());
            }
        }
    }
    Layer { origin: SettingSource::Toml, texts }
}

fn scalar(value: &toml::Value) -> Option<String> {
    match value {
        toml::Value::String(text) => Some(text.clone()),
        toml::Value::Integer(number) => Some(number.to_string()),
        toml::Value::Boolean(truth) => Some(truth.to_string()),
        toml::Value::Array(items) => {
            let texts = items.iter().map(toml::Value::as_str).collect::<Option<Vec<_>>>()?;
            Some(texts.join(","))
        }
        toml::Value::Float(_) | toml::Value::Datetime(_) | toml::Value::Table(_) => None,
    }
}

/// A misspelt setting must not pass for one left at its default. In `aegis.toml`, which is ours alone, every unknown
/// name is an error; elsewhere those that begin like ours.
fn reject_unknown(layer: &Layer, faults: &mut Vec<InvalidSetting>) {
    for name in layer.texts.keys() {
        let ours = layer.origin == SettingSource::Toml || name.starts_with("AEGIS_");
        if ours && !definitions::is_ignored(name) && definitions::names().all(|known| known != *name) {
            let problem = format!(
                "there is no such setting; did you mean {}? `aegis config` lists all",
                definitions::closest_name(name)
            );
            faults.push(InvalidSetting::new(name, layer.origin.clone(), problem));
        }
    }
}

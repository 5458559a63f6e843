//! The settings as they may be shown: secrets masked, each with its source.

use std::path::Path;

use serde::Serialize;

use super::data_folder::{MASTER_KEY_FILE, SECRET_KEY_FILE};
use super::definitions::{self, DefaultValue, Sensitivity, Setting};
use super::error::{InvalidSettings, SettingSource};
use super::load::{REQUIRED_KEYS, check, missing_keys};
use super::parse::Parsed;
use super::sources::ConfigSources;
use super::values::RawValues;

/// What stands for a secret, whatever its length.
pub(super) const MASK: &str = "********";

/// A setting as it may be shown.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct ShownSetting {
    /// Its name.
    pub name: &'static str,
    /// What it is; nothing if it is not set.
    pub value: Option<String>,
    /// Where that comes from.
    pub source: String,
}

/// All settings as they would hold for the service, and what is wrong with them.
#[must_use]
pub fn survey(sources: &ConfigSources) -> (Vec<ShownSetting>, Option<InvalidSettings>) {
    let (values, parsed, mut faults) = check(sources);
    missing_keys(&values, &parsed, &REQUIRED_KEYS, &mut faults);
    let shown = definitions::ALL.iter().map(|setting| show(setting, &values, &parsed)).collect();
    (shown, (!faults.is_empty()).then_some(InvalidSettings(faults)))
}

/// Where a setting comes from.
pub(super) fn origin(values: &RawValues, setting: &Setting) -> SettingSource {
    values.get(setting).map_or(SettingSource::Default, |found| found.origin.clone())
}

fn show(setting: &Setting, values: &RawValues, parsed: &Parsed) -> ShownSetting {
    let name = setting.name;
    if let Some(found) = values.get(setting) {
        let value = match setting.sensitivity {
            Sensitivity::Open => found.text.to_string(),
            Sensitivity::Secret => MASK.to_owned(),
            Sensitivity::Url => mask_url(&found.text),
        };
        return ShownSetting { name, value: Some(value), source: found.origin.to_string() };
    }
    let (value, source) = match setting.fallback {
        DefaultValue::Text(text) => (Some(text.to_owned()), "default".to_owned()),
        DefaultValue::Unset => (None, "not set".to_owned()),
        DefaultValue::Computed(_) if name == definitions::HASH_THREADS.name => {
            (Some(parsed.passwords.threads.to_string()), "default: one per core".to_owned())
        }
        DefaultValue::Computed(_) => generated_key(setting, parsed),
    };
    ShownSetting { name, value, source }
}

/// A key that the data folder holds, or will.
fn generated_key(setting: &Setting, parsed: &Parsed) -> (Option<String>, String) {
    if parsed.mongodb_url.is_some() {
        return (None, "not set, but required with MongoDB".to_owned());
    }
    let file = if setting.name == definitions::SECRET_KEY.name { SECRET_KEY_FILE } else { MASTER_KEY_FILE };
    let path = parsed.data_dir.join(file);
    if file_exists(&path) {
        (Some(MASK.to_owned()), SettingSource::DataFolder(path).to_string())
    } else {
        (None, format!("made at first start: {}", path.display()))
    }
}

fn file_exists(path: &Path) -> bool {
    path.try_exists().unwrap_or(false)
}

/// A database URL without its secrets. What cannot be taken apart is masked whole.
#[must_use]
pub fn mask_url(text: &str) -> String {
    let Some((scheme, rest)) = text.split_once("://") else { return MASK.to_owned() };
    // The last `@`, since a password may hold others although it should not.
    let masked = match rest.rsplit_once('@') {
        Some((login, hosts)) => match login.split_once(':') {
            Some((user, _)) => format!("{scheme}://{user}:{MASK}@{hosts}"),
            None => text.to_owned(),
        },
        None => text.to_owned(),
    };
    let Some((before, query)) = masked.split_once('?') else { return masked };
    let parameters: Vec<_> = query.split('&').map(mask_parameter).collect();
    format!("{before}?{}", parameters.join("&"))
}

fn mask_parameter(parameter: &str) -> String {
    let (name, _) = parameter.split_once('=').unwrap_or((parameter, ""));
    let lower = name.to_ascii_lowercase();
    if lower.contains("password") || lower == "authmechanismproperties" {
        format!("{name}={MASK}")
    } else {
        parameter.to_owned()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shown_url_masks_passwords() {
        for (url, shown) in [
            ("mongodb://h:27017/?replicaSet=rs0", "mongodb://h:27017/?replicaSet=rs0"),
            ("mongodb://ada@h/", "mongodb://ada@h/"),
            ("mongodb://ada:s3cret@h,i/db?x=1", "mongodb://ada:********@h,i/db?x=1"),
            ("mongodb+srv://ada:s3/c?r@et@h/", "mongodb+srv://ada:********@h/"),
            ("mongodb://h/?proxyPassword=s3cret&x=1", "mongodb://h/?proxyPassword=********&x=1"),
            ("s3cret", "********"),
        ] {
            assert_eq!(mask_url(url), shown);
        }
    }
}

//! The effective settings, as `aegis config` shows them: each with its source, secrets masked.

use serde::Serialize;

use super::data_folder::{MASTER_KEY_FILE, SECRET_KEY_FILE};
use super::definitions::{self, DefaultValue, Definition, Sensitivity};
use super::error::{InvalidSettings, SettingSource};
use super::load::{Checked, check};
use super::redaction::{MASK, redact, url_password};
use super::settings::DatabaseSettings;
use super::sources::ConfigSources;

#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct ShownSetting {
    pub name: &'static str,
    /// `None` if it is not set.
    pub value: Option<String>,
    pub source: String,
}

/// All settings as they apply to the service, and those that are invalid.
#[must_use]
pub fn show_all(sources: &ConfigSources) -> (Vec<ShownSetting>, Option<InvalidSettings>) {
    let mut checked = check(sources);
    checked.add_missing(&checked.parsed.node_keys());
    let shown = definitions::ALL.iter().map(|definition| show(definition, &checked)).collect();
    (shown, InvalidSettings::check(checked.invalid).err())
}

fn show(definition: &Definition, checked: &Checked) -> ShownSetting {
    let name = definition.name;
    if let Some(found) = checked.values.get(definition) {
        let value = match definition.sensitivity {
            // A secret that another setting repeats is masked there as well.
            Sensitivity::Public => redact(&found.text).into_owned(),
            Sensitivity::Secret => MASK.to_owned(),
            Sensitivity::Url => mask_url(&found.text),
        };
        return ShownSetting { name, value: Some(value), source: found.source.to_string() };
    }
    let (value, source) = match definition.default {
        DefaultValue::Text(text) => (Some(text.to_owned()), "default".to_owned()),
        DefaultValue::Unset => (None, "not set".to_owned()),
        DefaultValue::Computed(_)
            if name == definitions::SECRET_KEY.name && !checked.parsed.uses_secret_key() =>
        {
            (None, "not set".to_owned())
        }
        DefaultValue::Computed(_) if name == definitions::SECRET_KEY.name => {
            show_key(SECRET_KEY_FILE, checked)
        }
        DefaultValue::Computed(_) if name == definitions::MASTER_KEY.name => {
            show_key(MASTER_KEY_FILE, checked)
        }
        DefaultValue::Computed(how) => {
            (Some(checked.parsed.passwords.threads.to_string()), format!("default: {how}"))
        }
    };
    ShownSetting { name, value, source }
}

/// A key that is in the data directory, or will be generated there.
fn show_key(file: &str, checked: &Checked) -> (Option<String>, String) {
    match &checked.parsed.database {
        DatabaseSettings::Mongo { .. } => (None, "not set, but required with MongoDB".to_owned()),
        DatabaseSettings::Embedded { data_dir } => {
            let path = data_dir.join(file);
            if path.try_exists().unwrap_or(false) {
                (Some(MASK.to_owned()), SettingSource::DataFolder(path).to_string())
            } else {
                (None, format!("generated at first start: {}", path.display()))
            }
        }
    }
}

/// A database URL without its secrets. A text that is not a URL is masked completely.
#[must_use]
pub fn mask_url(text: &str) -> String {
    if !text.contains("://") {
        return MASK.to_owned();
    }
    let masked = match url_password(text) {
        Some(password) => text.replacen(&format!(":{password}@"), &format!(":{MASK}@"), 1),
        None => text.to_owned(),
    };
    let Some((before, query)) = masked.split_once('?') else { return masked };
    let parameters: Vec<_> = query.split('&').map(mask_parameter).collect();
    format!("{before}?{}", parameters.join("&"))
}

fn mask_parameter(parameter: &str) -> String {
    let name = parameter.split_once('=').map_or(parameter, |(name, _)| name);
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

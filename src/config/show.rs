//! The settings as they may be shown: secrets masked, each with its source.

use std::path::Path;

use serde::Serialize;

use super::catalogue::{self, Fallback, Secrecy, Setting};
use super::data_folder::{MASTER_KEY_FILE, SECRET_KEY_FILE};
use super::fault::{Faults, Origin};
use super::load::{NODE_KEYS, check, missing_keys};
use super::parse::Parsed;
use super::sources::Sources;
use super::values::Values;

/// What stands for a secret, whatever its length.
pub(super) const MASK: &str = "********";

/// A setting as it may be shown.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Shown {
    /// Its name.
    pub name: &'static str,
    /// What it is; nothing if it is not set.
    pub value: Option<String>,
    /// Where that comes from.
    pub source: String,
}

/// All settings as they would hold for the service, and what is wrong with them.
#[must_use]
pub fn survey(sources: &Sources) -> (Vec<Shown>, Option<Faults>) {
    let (values, parsed, mut faults) = check(sources);
    missing_keys(&values, &parsed, &NODE_KEYS, &mut faults);
    let shown = catalogue::ALL.iter().map(|setting| show(setting, &values, &parsed)).collect();
    (shown, (!faults.is_empty()).then_some(Faults(faults)))
}

/// Where a setting comes from.
pub(super) fn origin(values: &Values, setting: &Setting) -> Origin {
    values.get(setting).map_or(Origin::Default, |found| found.origin.clone())
}

fn show(setting: &Setting, values: &Values, parsed: &Parsed) -> Shown {
    let name = setting.name;
    if let Some(found) = values.get(setting) {
        let value = match setting.secrecy {
            Secrecy::Open => found.text.to_string(),
            Secrecy::Secret => MASK.to_owned(),
            Secrecy::Url => mask_url(&found.text),
        };
        return Shown { name, value: Some(value), source: found.origin.to_string() };
    }
    let (value, source) = match setting.fallback {
        Fallback::Text(text) => (Some(text.to_owned()), "default".to_owned()),
        Fallback::Unset => (None, "not set".to_owned()),
        Fallback::Computed(_) if name == catalogue::HASH_THREADS.name => {
            (Some(parsed.passwords.threads.to_string()), "default: one per core".to_owned())
        }
        Fallback::Computed(_) => kept_key(setting, parsed),
    };
    Shown { name, value, source }
}

/// A key that the data folder holds, or will.
fn kept_key(setting: &Setting, parsed: &Parsed) -> (Option<String>, String) {
    if parsed.mongodb_url.is_some() {
        return (None, "not set, but required with MongoDB".to_owned());
    }
    let file = if setting.name == catalogue::SECRET_KEY.name { SECRET_KEY_FILE } else { MASTER_KEY_FILE };
    let path = parsed.data_dir.join(file);
    if is_there(&path) {
        (Some(MASK.to_owned()), Origin::DataFolder(path).to_string())
    } else {
        (None, format!("made at first start: {}", path.display()))
    }
}

fn is_there(path: &Path) -> bool {
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
    fn a_shown_url_keeps_its_secrets() {
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

//! From the sources to the settings of a process: gather, check, and, embedded, find or make the keys.

use std::num::NonZero;
use std::path::PathBuf;

use store::Env;

use super::data_folder::{DataFolder, DataFolderError};
use super::definitions::{self as setting, Setting};
use super::error::{InvalidSetting, InvalidSettings};
use super::master_keys::MasterKeySetting;
use super::parse::{self, Parsed};
use super::settings::{DatabaseSettings, LogSettings, Secret, Settings, TokenSettings, WebhookSettings};
use super::sources::ConfigSources;
use super::values::RawValues;

/// The keys that every node of a service needs.
pub(super) static REQUIRED_KEYS: [&Setting; 2] = [&setting::SECRET_KEY, &setting::MASTER_KEY];

/// Why there are no settings.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ConfigError {
    /// Some are wrong or missing.
    #[error(transparent)]
    InvalidSettings(#[from] InvalidSettings),
    /// The data folder lacks something, or may not be used.
    #[error(transparent)]
    Folder(#[from] DataFolderError),
}

/// What a command other than `serve` needs to know.
#[derive(Clone, Debug)]
pub struct CommandSettings {
    /// Where events and read models are kept.
    pub database: DatabaseSettings,
    /// They wrap all stored keys.
    pub master_key: MasterKeySetting,
    /// Where webhooks may send to.
    pub webhooks: WebhookSettings,
    /// What is logged, and how.
    pub log: LogSettings,
}

/// What a benchmark needs to know: where a MongoDB is to be had, not what is in it.
#[derive(Clone, Debug)]
pub struct BenchSettings {
    /// `MONGODB_URL`.
    pub mongodb_url: Option<Secret>,
    /// `AEGIS_MONGOD`.
    pub mongod: Option<PathBuf>,
    /// What is logged, and how.
    pub log: LogSettings,
}

/// Settings, and what the operator should know about them.
#[derive(Clone, Debug)]
pub struct Loaded<T> {
    /// The settings.
    pub settings: T,
    /// What is not wrong but should be known.
    pub warnings: Vec<String>,
}

/// The settings of the service. Embedded, the data folder and its keys are made if they are missing.
///
/// # Errors
/// [`ConfigError`] with all that is wrong.
pub fn for_service(sources: &ConfigSources, env: &Env) -> Result<Loaded<Settings>, ConfigError> {
    let (values, parsed, mut faults) = check(sources);
    missing_keys(&values, &parsed, &REQUIRED_KEYS, &mut faults);
    reject_invalid(faults)?;
    let database = database(&parsed);
    let (given_secret, previous) = (parsed.secret_key, parsed.previous_masters);
    let given_master = parsed.master_key.map(|key| MasterKeySetting::named(key, previous.clone()));
    let (master_key, secret_key, warnings) = match (&database, given_master, given_secret) {
        (DatabaseSettings::Embedded { data_dir }, master, secret) => {
            let mut folder = DataFolder::for_service(data_dir)?;
            let _lock = folder.lock()?;
            let master = master.map_or_else(|| folder.master_keys_or_new(previous, env), Ok)?;
            let secret = secret.map_or_else(|| folder.secret_key_or_new(env), Ok)?;
            (master, secret, folder.warnings)
        }
        (DatabaseSettings::Mongo { .. }, Some(master), Some(secret)) => (master, secret, Vec::new()),
        (DatabaseSettings::Mongo { .. }, master, _) => {
            return Err(missing_required_key(master.is_none()).into());
        }
    };
    let settings = Settings {
        database,
        master_key,
        http: parsed.http,
        webhooks: parsed.webhooks,
        tokens: TokenSettings {
            secret_key,
            previous_key: parsed.previous_key,
            algorithm: parsed.algorithm,
            lifetime: parsed.token_lifetime,
        },
        passwords: parsed.passwords,
        administrator: parsed.administrator,
        log: parsed.log,
    };
    Ok(Loaded { settings, warnings })
}

/// The settings of a command that works on an existing database. Nothing is made.
///
/// # Errors
/// [`ConfigError`] with all that is wrong.
pub fn for_command(sources: &ConfigSources) -> Result<Loaded<CommandSettings>, ConfigError> {
    let (values, parsed, mut faults) = check(sources);
    missing_keys(&values, &parsed, &[&setting::MASTER_KEY], &mut faults);
    reject_invalid(faults)?;
    let database = database(&parsed);
    let previous = parsed.previous_masters;
    let given = parsed.master_key.map(|key| MasterKeySetting::named(key, previous.clone()));
    let (master_key, warnings) = match (&database, given) {
        (DatabaseSettings::Embedded { data_dir }, given) => {
            let mut folder = DataFolder::existing(data_dir)?;
            let kept = given.map_or_else(|| folder.master_keys(previous), |keys| Ok(Some(keys)))?;
            (kept.ok_or_else(|| folder.master_key_missing())?, folder.warnings)
        }
        (DatabaseSettings::Mongo { .. }, Some(master)) => (master, Vec::new()),
        (DatabaseSettings::Mongo { .. }, None) => return Err(missing_required_key(true).into()),
    };
    let log = with_command_log_level(&values, parsed.log);
    Ok(Loaded {
        settings: CommandSettings { database, master_key, webhooks: parsed.webhooks, log },
        warnings,
    })
}

/// The settings of a benchmark, which uses no database and no key of anybody's.
///
/// # Errors
/// [`ConfigError`] with all that is wrong.
pub fn for_bench(sources: &ConfigSources) -> Result<BenchSettings, ConfigError> {
    let (values, parsed, faults) = check(sources);
    reject_invalid(faults)?;
    let mongod = values.get(&setting::MONGOD).map(|found| PathBuf::from(found.text.as_str()));
    Ok(BenchSettings {
        mongodb_url: parsed.mongodb_url,
        mongod,
        log: with_command_log_level(&values, parsed.log),
    })
}

/// Whoever types a command wants its answer; only what is wrong is worth a line more.
fn with_command_log_level(values: &RawValues, mut log: LogSettings) -> LogSettings {
    if values.get(&setting::LOG).is_none() {
        "warn".clone_into(&mut log.filter);
    }
    log
}

/// What was found, checked as the service would check it.
pub(super) fn check(sources: &ConfigSources) -> (RawValues, Parsed, Vec<InvalidSetting>) {
    let mut faults = Vec::new();
    let values = RawValues::collect_raw(sources, &mut faults);
    let cores = std::thread::available_parallelism().map_or(1, NonZero::get);
    let parsed = parse::parse(&values, cores, &mut faults);
    (values, parsed, faults)
}

/// The faults of keys that MongoDB needs and nobody gave: nodes must share them, so none is made up.
pub(super) fn missing_keys(
    values: &RawValues,
    parsed: &Parsed,
    keys: &[&Setting],
    faults: &mut Vec<InvalidSetting>,
) {
    for key in keys.iter().filter(|key| parsed.mongodb_url.is_some() && values.get(key).is_none()) {
        let known = |fault: &InvalidSetting| {
            fault.subject == key.name || Some(&fault.subject) == key.file_name().as_ref()
        };
        if !faults.iter().any(known) {
            faults.push(parse::missing_required(key));
        }
    }
}

fn reject_invalid(faults: Vec<InvalidSetting>) -> Result<(), InvalidSettings> {
    if faults.is_empty() { Ok(()) } else { Err(InvalidSettings(faults)) }
}

fn missing_required_key(master: bool) -> InvalidSettings {
    let setting = if master { &setting::MASTER_KEY } else { &setting::SECRET_KEY };
    InvalidSettings(vec![parse::missing_required(setting)])
}

fn database(parsed: &Parsed) -> DatabaseSettings {
    match &parsed.mongodb_url {
        Some(url) => DatabaseSettings::Mongo { url: url.clone(), name: parsed.database_name.clone() },
        None => DatabaseSettings::Embedded { data_dir: parsed.data_dir.clone() },
    }
}

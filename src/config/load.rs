//! From the sources to the settings of a process: gather, check, and, embedded, find or make the keys.

use std::num::NonZero;
use std::path::PathBuf;

use store::Ambient;

use super::catalogue::{self as setting, Setting};
use super::data_folder::{DataFolder, UnusableFolder};
use super::fault::{Fault, Faults};
use super::master_keys::MasterKeySetting;
use super::parse::{self, Parsed};
use super::settings::{DatabaseSettings, LogSettings, Secret, Settings, TokenSettings, WebhookSettings};
use super::sources::Sources;
use super::values::Values;

/// The keys that every node of a service needs.
pub(super) static NODE_KEYS: [&Setting; 2] = [&setting::SECRET_KEY, &setting::MASTER_KEY];

/// Why there are no settings.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Unusable {
    /// Some are wrong or missing.
    #[error(transparent)]
    Faults(#[from] Faults),
    /// The data folder lacks something, or may not be used.
    #[error(transparent)]
    Folder(#[from] UnusableFolder),
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
/// [`Unusable`] with all that is wrong.
pub fn for_service(sources: &Sources, ambient: &Ambient) -> Result<Loaded<Settings>, Unusable> {
    let (values, parsed, mut faults) = check(sources);
    missing_keys(&values, &parsed, &NODE_KEYS, &mut faults);
    refuse_any(faults)?;
    let database = database(&parsed);
    let (given_secret, previous) = (parsed.secret_key, parsed.previous_masters);
    let given_master = parsed.master_key.map(|key| MasterKeySetting::named(key, previous.clone()));
    let (master_key, secret_key, warnings) = match (&database, given_master, given_secret) {
        (DatabaseSettings::Embedded { data_dir }, master, secret) => {
            let mut folder = DataFolder::for_service(data_dir)?;
            let _lock = folder.lock()?;
            let master = master.map_or_else(|| folder.master_keys_or_new(previous, ambient), Ok)?;
            let secret = secret.map_or_else(|| folder.secret_key_or_new(ambient), Ok)?;
            (master, secret, folder.warnings)
        }
        (DatabaseSettings::Mongo { .. }, Some(master), Some(secret)) => (master, secret, Vec::new()),
        (DatabaseSettings::Mongo { .. }, master, _) => return Err(required_keys(master.is_none()).into()),
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
/// [`Unusable`] with all that is wrong.
pub fn for_command(sources: &Sources) -> Result<Loaded<CommandSettings>, Unusable> {
    let (values, parsed, mut faults) = check(sources);
    missing_keys(&values, &parsed, &[&setting::MASTER_KEY], &mut faults);
    refuse_any(faults)?;
    let database = database(&parsed);
    let previous = parsed.previous_masters;
    let given = parsed.master_key.map(|key| MasterKeySetting::named(key, previous.clone()));
    let (master_key, warnings) = match (&database, given) {
        (DatabaseSettings::Embedded { data_dir }, given) => {
            let mut folder = DataFolder::existing(data_dir)?;
            let kept = given.map_or_else(|| folder.master_keys(previous), |keys| Ok(Some(keys)))?;
            (kept.ok_or_else(|| folder.master_key_lost())?, folder.warnings)
        }
        (DatabaseSettings::Mongo { .. }, Some(master)) => (master, Vec::new()),
        (DatabaseSettings::Mongo { .. }, None) => return Err(required_keys(true).into()),
    };
    let log = quiet(&values, parsed.log);
    Ok(Loaded {
        settings: CommandSettings { database, master_key, webhooks: parsed.webhooks, log },
        warnings,
    })
}

/// The settings of a benchmark, which uses no database and no key of anybody's.
///
/// # Errors
/// [`Unusable`] with all that is wrong.
pub fn for_bench(sources: &Sources) -> Result<BenchSettings, Unusable> {
    let (values, parsed, faults) = check(sources);
    refuse_any(faults)?;
    let mongod = values.get(&setting::MONGOD).map(|found| PathBuf::from(found.text.as_str()));
    Ok(BenchSettings { mongodb_url: parsed.mongodb_url, mongod, log: quiet(&values, parsed.log) })
}

/// Whoever types a command wants its answer; only what is wrong is worth a line more.
fn quiet(values: &Values, mut log: LogSettings) -> LogSettings {
    if values.get(&setting::LOG).is_none() {
        "warn".clone_into(&mut log.filter);
    }
    log
}

/// What was found, checked as the service would check it.
pub(super) fn check(sources: &Sources) -> (Values, Parsed, Vec<Fault>) {
    let mut faults = Vec::new();
    let values = Values::gather(sources, &mut faults);
    let cores = std::thread::available_parallelism().map_or(1, NonZero::get);
    let parsed = parse::parse(&values, cores, &mut faults);
    (values, parsed, faults)
}

/// The faults of keys that MongoDB needs and nobody gave: nodes must share them, so none is made up.
pub(super) fn missing_keys(values: &Values, parsed: &Parsed, keys: &[&Setting], faults: &mut Vec<Fault>) {
    for key in keys.iter().filter(|key| parsed.mongodb_url.is_some() && values.get(key).is_none()) {
        let known =
            |fault: &Fault| fault.subject == key.name || Some(&fault.subject) == key.file_name().as_ref();
        if !faults.iter().any(known) {
            faults.push(parse::required(key));
        }
    }
}

fn refuse_any(faults: Vec<Fault>) -> Result<(), Faults> {
    if faults.is_empty() { Ok(()) } else { Err(Faults(faults)) }
}

fn required_keys(master: bool) -> Faults {
    let setting = if master { &setting::MASTER_KEY } else { &setting::SECRET_KEY };
    Faults(vec![parse::required(setting)])
}

fn database(parsed: &Parsed) -> DatabaseSettings {
    match &parsed.mongodb_url {
        Some(url) => DatabaseSettings::Mongo { url: url.clone(), name: parsed.database_name.clone() },
        None => DatabaseSettings::Embedded { data_dir: parsed.data_dir.clone() },
    }
}

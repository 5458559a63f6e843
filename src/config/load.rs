//! Loads the settings of a process: collects the texts, parses and checks them, and, with the embedded
//! database, reads or generates the keys in the data directory.

use std::num::NonZero;
use std::path::PathBuf;
use std::time::Duration;

use domain::{PasswordPolicy, UsernamePolicy};
use jsonwebtoken::Algorithm;
use store::{Env, MasterKey};

use super::data_folder::{DataFolder, DataFolderError, OUTBOX};
use super::definitions::{self as setting, DefaultValue, Definition, Setting};
use super::error::{InvalidSetting, InvalidSettings, SettingProblem, SettingSource};
use super::master_keys::{LoadedKey, MasterKeySetting};
use super::parse;
use super::settings::{
    AdministratorSettings, DatabaseSettings, HttpSettings, LogSettings, LoginEventSetting, MailSettings,
    MailTransportSetting, PasswordSettings, Secret, SessionSettings, SmtpSettings, TokenSettings,
    WebhookSettings,
};
use super::sources::{ConfigSources, RawValues};

/// The default of `AEGIS_MAX_CONNECTIONS`, where the system allows as many open files.
const MAX_CONNECTIONS: usize = 10_000;

/// The settings of the service.
#[derive(Clone, Debug)]
pub struct Settings {
    pub database: DatabaseSettings,
    pub master_key: MasterKeySetting,
    pub http: HttpSettings,
    pub webhooks: WebhookSettings,
    pub mail: MailSettings,
    pub tokens: TokenSettings,
    pub sessions: SessionSettings,
    pub passwords: PasswordSettings,
    /// Which usernames are accepted.
    pub usernames: UsernamePolicy,
    /// Whether requests that cost or guess passwords are limited.
    pub rate_limits: bool,
    pub login_events: LoginEventSetting,
    /// Created at startup unless there is an administrator.
    pub administrator: Option<AdministratorSettings>,
    pub log: LogSettings,
}

/// The settings of a command other than `serve`.
#[derive(Clone, Debug)]
pub struct CommandSettings {
    pub database: DatabaseSettings,
    pub master_key: MasterKeySetting,
    pub webhooks: WebhookSettings,
    /// With which the service signs access tokens.
    pub algorithm: Algorithm,
    pub passwords: PasswordSettings,
    pub usernames: UsernamePolicy,
    pub log: LogSettings,
}

/// The settings of a benchmark: the MongoDB server to use, not the database on it.
#[derive(Clone, Debug)]
pub struct BenchSettings {
    pub mongodb_url: Option<Secret>,
    pub mongod: Option<PathBuf>,
    pub log: LogSettings,
}

#[derive(Clone, Debug)]
pub struct Loaded<T> {
    pub settings: T,
    /// To be logged once logging has started.
    pub warnings: Vec<String>,
}

/// Why a process has no usable configuration.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ConfigError {
    #[error(transparent)]
    InvalidSettings(#[from] InvalidSettings),
    #[error(transparent)]
    DataFolder(#[from] DataFolderError),
}

/// Loads the settings of the service. With the embedded database, creates the data directory and its keys if
/// they are missing.
///
/// # Errors
/// [`ConfigError`] with all invalid settings.
pub fn for_service(sources: &ConfigSources, env: &Env) -> Result<Loaded<Settings>, ConfigError> {
    let checked = check(sources);
    let keys = checked.parsed.node_keys();
    let parsed = checked.require(&keys)?;
    let uses_secret_key = parsed.uses_secret_key();
    let mut folder = parsed.database.data_dir().map(DataFolder::create).transpose()?;
    let _lock = folder.as_ref().map(DataFolder::lock).transpose()?;
    let generate = |folder: &mut DataFolder, previous| folder.load_or_generate_master_keys(previous, env);
    let master_key = master_keys(parsed.master_key, parsed.previous_master_keys, folder.as_mut(), generate)?;
    let secret_key = match (parsed.secret_key, &mut folder) {
        (Some(key), _) => Some(key),
        (None, _) if !uses_secret_key => None,
        (None, Some(folder)) => Some(folder.load_or_generate_secret_key(env)?),
        (None, None) => return Err(required_with_mongo(&setting::SECRET_KEY).into()),
    };
    let settings = Settings {
        database: parsed.database,
        master_key,
        http: parsed.http,
        webhooks: parsed.webhooks,
        mail: parsed.mail,
        tokens: TokenSettings {
            secret_key,
            previous_key: parsed.previous_secret_key,
            algorithm: parsed.algorithm,
            previous_algorithm: parsed.previous_algorithm,
            lifetime: parsed.token_lifetime,
        },
        sessions: parsed.sessions,
        passwords: parsed.passwords,
        usernames: parsed.usernames,
        rate_limits: parsed.rate_limits,
        login_events: parsed.login_events,
        administrator: parsed.administrator,
        log: parsed.log,
    };
    Ok(Loaded { settings, warnings: folder.map(|folder| folder.warnings).unwrap_or_default() })
}

/// Loads the settings of a command that works on an existing database. Creates nothing.
///
/// # Errors
/// [`ConfigError`] with all invalid settings.
pub fn for_command(sources: &ConfigSources) -> Result<Loaded<CommandSettings>, ConfigError> {
    let parsed = check(sources).require(&[&setting::MASTER_KEY])?;
    let mut folder = parsed.database.data_dir().map(DataFolder::existing).transpose()?;
    let load = DataFolder::load_master_keys;
    let master_key = master_keys(parsed.master_key, parsed.previous_master_keys, folder.as_mut(), load)?;
    let settings = CommandSettings {
        database: parsed.database,
        master_key,
        webhooks: parsed.webhooks,
        algorithm: parsed.algorithm,
        passwords: parsed.passwords,
        usernames: parsed.usernames,
        log: parsed.command_log,
    };
    Ok(Loaded { settings, warnings: folder.map(|folder| folder.warnings).unwrap_or_default() })
}

/// The keys from settings, or else those that `stored` finds in the data directory.
fn master_keys(
    current: Option<LoadedKey>,
    previous: Vec<LoadedKey>,
    folder: Option<&mut DataFolder>,
    stored: impl FnOnce(&mut DataFolder, Vec<LoadedKey>) -> Result<MasterKeySetting, DataFolderError>,
) -> Result<MasterKeySetting, ConfigError> {
    match (current, folder) {
        (Some(current), _) => Ok(MasterKeySetting::configured(current, previous)),
        (None, Some(folder)) => {
            folder.check_database()?;
            Ok(stored(folder, previous)?)
        }
        (None, None) => Err(required_with_mongo(&setting::MASTER_KEY).into()),
    }
}

/// Loads the settings of a benchmark, which uses scratch databases with keys of their own.
///
/// # Errors
/// [`ConfigError`] with all invalid settings.
pub fn for_bench(sources: &ConfigSources) -> Result<BenchSettings, ConfigError> {
    let parsed = check(sources).require(&[])?;
    let mongodb_url = match parsed.database {
        DatabaseSettings::Mongo { url, .. } => Some(url),
        DatabaseSettings::Embedded { .. } => None,
    };
    Ok(BenchSettings { mongodb_url, mongod: parsed.mongod, log: parsed.command_log })
}

/// All settings, except keys that are read from the data directory.
pub(super) struct Parsed {
    pub(super) database: DatabaseSettings,
    secret_key: Option<Secret>,
    previous_secret_key: Option<Secret>,
    master_key: Option<LoadedKey>,
    previous_master_keys: Vec<LoadedKey>,
    algorithm: Algorithm,
    previous_algorithm: Option<Algorithm>,
    token_lifetime: Duration,
    sessions: SessionSettings,
    http: HttpSettings,
    webhooks: WebhookSettings,
    mail: MailSettings,
    pub(super) passwords: PasswordSettings,
    usernames: UsernamePolicy,
    rate_limits: bool,
    login_events: LoginEventSetting,
    administrator: Option<AdministratorSettings>,
    log: LogSettings,
    /// The log settings of a command, whose default level is `warn`: its output is the answer.
    command_log: LogSettings,
    mongod: Option<PathBuf>,
}

impl Parsed {
    /// The keys that all nodes of a service on MongoDB must share.
    pub(super) fn node_keys(&self) -> Vec<&'static Definition> {
        let secret_key = self.uses_secret_key().then_some(setting::SECRET_KEY.definition());
        secret_key.into_iter().chain([setting::MASTER_KEY.definition()]).collect()
    }

    /// Whether access tokens are signed or verified with a shared secret.
    pub(super) fn uses_secret_key(&self) -> bool {
        let is_made_by_service = |algorithm| matches!(algorithm, Algorithm::EdDSA | Algorithm::ES256);
        std::iter::once(self.algorithm).chain(self.previous_algorithm).any(|one| !is_made_by_service(one))
    }
}

/// The texts of all settings, what they were parsed into, and which of them are invalid.
pub(super) struct Checked {
    pub(super) values: RawValues,
    pub(super) parsed: Parsed,
    pub(super) invalid: Vec<InvalidSetting>,
}

pub(super) fn check(sources: &ConfigSources) -> Checked {
    let mut invalid = Vec::new();
    let values = RawValues::collect(sources, &mut invalid);
    let parsed = Parser { values: &values, invalid: &mut invalid }.parse();
    Checked { values, parsed, invalid }
}

impl Checked {
    /// Adds an error for each key that MongoDB requires and that is not set.
    pub(super) fn add_missing(&mut self, keys: &[&Definition]) {
        if self.parsed.database.data_dir().is_some() {
            return;
        }
        for key in keys.iter().filter(|key| self.values.get(key).is_none()) {
            // A key file that cannot be read has been reported already.
            let file_name = key.file_name().unwrap_or_default();
            if !self.invalid.iter().any(|invalid| invalid.subject == key.name || invalid.subject == file_name)
            {
                self.invalid.push(missing(key));
            }
        }
    }

    /// The parsed settings if all are valid and, with MongoDB, those keys are set.
    fn require(mut self, keys: &[&Definition]) -> Result<Parsed, InvalidSettings> {
        self.add_missing(keys);
        InvalidSettings::check(self.invalid)?;
        Ok(self.parsed)
    }
}

fn missing(key: &Definition) -> InvalidSetting {
    InvalidSetting::new(key.name, SettingSource::Default, SettingProblem::RequiredWithMongo)
}

fn required_with_mongo(key: &Definition) -> InvalidSettings {
    InvalidSettings(vec![missing(key)])
}

/// Parses all settings. An invalid one is reported and replaced by a placeholder, so that one run reports all
/// of them.
struct Parser<'a> {
    values: &'a RawValues,
    invalid: &'a mut Vec<InvalidSetting>,
}

impl Parser<'_> {
    fn parse(mut self) -> Parsed {
        let passwords = self.passwords();
        let log = LogSettings { filter: self.get(&setting::LOG), format: self.get(&setting::LOG_FORMAT) };
        let command_log = match self.values.get(&setting::LOG) {
            Some(_) => log.clone(),
            None => LogSettings { filter: "warn".to_owned(), format: log.format },
        };
        let database = self.database();
        Parsed {
            mail: self.mail(&database),
            database,
            secret_key: self.optional(&setting::SECRET_KEY),
            previous_secret_key: self.optional(&setting::SECRET_KEY_PREVIOUS),
            master_key: self.optional(&setting::MASTER_KEY).map(|key| self.loaded(key, &setting::MASTER_KEY)),
            previous_master_keys: self.previous_master_keys(),
            algorithm: self.get(&setting::ALGORITHM),
            previous_algorithm: self.optional(&setting::ALGORITHM_PREVIOUS),
            token_lifetime: Duration::from_secs(60 * self.get(&setting::ACCESS_TOKEN_EXPIRE_MINUTES)),
            sessions: SessionSettings {
                token_lifetime: Duration::from_mins(self.get(&setting::SESSION_TOKEN_MINUTES)),
                lifetime: Duration::from_hours(24 * self.get(&setting::SESSION_DAYS)),
                idle_lifetime: Duration::from_hours(24 * self.get(&setting::SESSION_IDLE_DAYS)),
            },
            http: HttpSettings {
                listen: self.get(&setting::LISTEN),
                api_prefix: self.get(&setting::API_V1_STR),
                project_name: self.get(&setting::PROJECT_NAME),
                cors_origins: self.get(&setting::CORS_ORIGINS),
                trusted_proxies: self.get(&setting::TRUSTED_PROXIES),
                max_connections: self.optional(&setting::MAX_CONNECTIONS).unwrap_or(MAX_CONNECTIONS),
                metrics_listen: self.optional(&setting::METRICS_LISTEN),
                console: self.get(&setting::CONSOLE),
            },
            webhooks: WebhookSettings { allow_private: self.get(&setting::WEBHOOK_ALLOW_PRIVATE) },
            passwords,
            usernames: UsernamePolicy { level: self.get(&setting::USERNAME_LEVEL) },
            rate_limits: self.get(&setting::RATE_LIMITS),
            login_events: self.get(&setting::LOGIN_EVENTS),
            administrator: self.administrator(passwords.min_length),
            log,
            command_log,
            mongod: self.optional(&setting::MONGOD),
        }
    }

    /// The value or the default; a placeholder if it is invalid, or unset and without a default.
    fn get<T: Default>(&mut self, setting: &Setting<T>) -> T {
        let value = match (self.values.get(setting), setting.default) {
            (None, DefaultValue::Text(text)) => (setting.parse)(text).ok(),
            _ => self.optional(setting),
        };
        value.unwrap_or_default()
    }

    /// The value; `None` if it is unset or invalid.
    fn optional<T>(&mut self, setting: &Setting<T>) -> Option<T> {
        let value = self.values.get(setting)?;
        match (setting.parse)(&value.text) {
            Ok(value) => Some(value),
            Err(problem) => {
                self.reject(setting, SettingProblem::Invalid(problem));
                None
            }
        }
    }

    fn reject(&mut self, definition: &Definition, problem: SettingProblem) {
        self.invalid.push(InvalidSetting::new(definition.name, self.values.source(definition), problem));
    }

    fn database(&mut self) -> DatabaseSettings {
        if self.values.get(&setting::MONGODB_URL).is_none() {
            return DatabaseSettings::Embedded { data_dir: self.get(&setting::DATA_DIR) };
        }
        // An invalid URL still means MongoDB, so that missing keys are reported with it.
        let url = self.optional(&setting::MONGODB_URL).unwrap_or_else(|| Secret::new(String::new()));
        DatabaseSettings::Mongo { url, name: self.get(&setting::DATABASE_NAME) }
    }

    /// With a relay, mails need a sender and working links; without one they are not meant to leave the machine.
    fn mail(&mut self, database: &DatabaseSettings) -> MailSettings {
        let relay = self.optional(&setting::SMTP_URL);
        let ca = self.optional(&setting::SMTP_CA);
        if self.values.get(&setting::SMTP_URL).is_some() {
            self.require_for_mail(&setting::MAIL_FROM, "no-reply@example.org");
            self.require_for_mail(&setting::PUBLIC_URL, "https://example.org");
        }
        let transport = match (relay, database.data_dir()) {
            (Some(relay), _) => MailTransportSetting::Smtp(SmtpSettings { ca, ..relay }),
            (None, Some(data_dir)) => MailTransportSetting::Outbox(data_dir.join(OUTBOX)),
            (None, None) => MailTransportSetting::Off,
        };
        MailSettings {
            transport,
            from: self.optional(&setting::MAIL_FROM).unwrap_or_else(parse::local_sender),
            public_url: self.optional(&setting::PUBLIC_URL).unwrap_or_else(|| "http://localhost".to_owned()),
            templates: self.optional(&setting::MAIL_TEMPLATES),
            language: self.get(&setting::MAIL_LANGUAGE),
        }
    }

    fn require_for_mail(&mut self, definition: &Definition, example: &'static str) {
        if self.values.get(definition).is_none() {
            let (name, needed_by) = (definition.name, setting::SMTP_URL.name);
            self.reject(definition, SettingProblem::NeededBy { name, needed_by, example });
        }
    }

    fn loaded(&self, key: MasterKey, definition: &Definition) -> LoadedKey {
        LoadedKey { key, source: self.values.source(definition) }
    }

    fn previous_master_keys(&mut self) -> Vec<LoadedKey> {
        let keys = self.get(&setting::MASTER_KEY_PREVIOUS);
        keys.into_iter().map(|key| self.loaded(key, &setting::MASTER_KEY_PREVIOUS)).collect()
    }

    fn passwords(&mut self) -> PasswordSettings {
        let memory_kib: u32 = self.get(&setting::ARGON2_MEMORY_KIB);
        let parallelism: u32 = self.get(&setting::ARGON2_PARALLELISM);
        // RFC 9106 §3.1. An invalid value, which is 0 here, has been reported.
        if memory_kib > 0 && memory_kib < 8 * parallelism {
            let problem = format!("{memory_kib} KiB is too little for {parallelism} lanes: each needs 8 KiB");
            self.reject(&setting::ARGON2_MEMORY_KIB, SettingProblem::Invalid(problem));
        }
        let cores = || std::thread::available_parallelism().map_or(1, NonZero::get);
        PasswordSettings {
            memory_kib,
            iterations: self.get(&setting::ARGON2_ITERATIONS),
            parallelism,
            threads: self.optional(&setting::HASH_THREADS).unwrap_or_else(cores),
            queue: self.get(&setting::HASH_QUEUE),
            min_length: self.get(&setting::PASSWORD_MIN_LENGTH),
            min_score: self.get(&setting::PASSWORD_MIN_SCORE),
        }
    }

    /// The e-mail address and the password must be set together.
    fn administrator(&mut self, min_length: usize) -> Option<AdministratorSettings> {
        let (email, password) =
            (self.optional(&setting::ADMIN_EMAIL), self.optional(&setting::ADMIN_PASSWORD));
        if let Some(Err(error)) = password.as_ref().map(|it| PasswordPolicy { min_length }.check(it.expose()))
        {
            self.reject(&setting::ADMIN_PASSWORD, SettingProblem::Invalid(error.to_string()));
        }
        let (is_email_set, is_password_set) = (
            self.values.get(&setting::ADMIN_EMAIL).is_some(),
            self.values.get(&setting::ADMIN_PASSWORD).is_some(),
        );
        if is_email_set && !is_password_set {
            self.reject(&setting::ADMIN_PASSWORD, SettingProblem::RequiredWith(setting::ADMIN_EMAIL.name));
        } else if is_password_set && !is_email_set {
            self.reject(&setting::ADMIN_EMAIL, SettingProblem::RequiredWith(setting::ADMIN_PASSWORD.name));
        }
        Some(AdministratorSettings { email: email?, password: password? })
    }
}

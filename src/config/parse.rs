//! From texts to checked settings. Every fault is noted and a stand-in used instead, so that one run shows them all.

use std::ops::RangeInclusive;
use std::path::PathBuf;
use std::time::Duration;

use domain::{EmailAddress, PasswordPolicy};
use jsonwebtoken::Algorithm;
use store::MasterKey;

use super::definitions::{self as setting, DefaultValue, Setting};
use super::error::{InvalidSetting, SettingSource};
use super::master_keys::LoadedKey;
use super::settings::{
    AdministratorSettings, HttpSettings, LogFormat, LogSettings, PasswordSettings, Secret, WebhookSettings,
};
use super::show::origin;
use super::syntax;
use super::values::RawValues;

/// A secret shorter than this could be guessed (RFC 7518 §3.2 asks as much of HS256).
pub(super) const MIN_SECRET_BYTES: usize = 32;
/// What makes a key of that size.
pub(super) const KEY_HINT: &str = "`openssl rand -base64 32` makes one";

/// The largest costs of a password hash, those that [`crate::crypto`] would still verify.
const MEMORY_KIB: RangeInclusive<u64> = 8..=1024 * 1024;
const ITERATIONS: RangeInclusive<u64> = 1..=64;
const PARALLELISM: RangeInclusive<u64> = 1..=64;
const THREADS: RangeInclusive<u64> = 1..=1024;
const QUEUE: RangeInclusive<u64> = 1..=1_000_000;
const PASSWORD_LENGTH: RangeInclusive<u64> = 1..=1024;
/// A hundred years.
const TOKEN_MINUTES: RangeInclusive<u64> = 1..=52_560_000;

/// The settings, but for keys that the data folder may hold.
#[derive(Clone)]
pub(super) struct Parsed {
    /// `None`: embedded.
    pub(super) mongodb_url: Option<Secret>,
    pub(super) database_name: String,
    pub(super) data_dir: PathBuf,
    pub(super) secret_key: Option<Secret>,
    pub(super) previous_key: Option<Secret>,
    pub(super) master_key: Option<LoadedKey>,
    pub(super) previous_masters: Vec<LoadedKey>,
    pub(super) algorithm: Algorithm,
    pub(super) token_lifetime: Duration,
    pub(super) http: HttpSettings,
    pub(super) webhooks: WebhookSettings,
    pub(super) passwords: PasswordSettings,
    pub(super) administrator: Option<AdministratorSettings>,
    pub(super) log: LogSettings,
}

/// Reads settings and notes what is wrong with them.
struct SettingReader<'a> {
    values: &'a RawValues,
    cores: usize,
    faults: &'a mut Vec<InvalidSetting>,
}

/// Checks all values; `cores` is how many the machine has.
pub(super) fn parse(values: &RawValues, cores: usize, faults: &mut Vec<InvalidSetting>) -> Parsed {
    let mut reader = SettingReader { values, cores, faults };
    let passwords = reader.passwords();
    Parsed {
        mongodb_url: reader.mongodb_url(),
        database_name: reader.text(&setting::DATABASE_NAME).to_owned(),
        data_dir: PathBuf::from(reader.text(&setting::DATA_DIR)),
        secret_key: reader.secret_key(),
        previous_key: reader.secret(&setting::SECRET_KEY_PREVIOUS),
        master_key: reader.master_key(),
        previous_masters: reader.previous_masters(),
        algorithm: reader.parsed(&setting::ALGORITHM, Algorithm::HS256, syntax::algorithm),
        token_lifetime: Duration::from_secs(
            60 * reader.number(&setting::ACCESS_TOKEN_EXPIRE_MINUTES, TOKEN_MINUTES),
        ),
        http: reader.http(),
        webhooks: WebhookSettings {
            allow_private: reader.parsed(&setting::WEBHOOK_ALLOW_PRIVATE, Vec::new(), syntax::networks),
        },
        passwords,
        administrator: reader.administrator(&passwords),
        log: LogSettings {
            filter: reader.parsed(&setting::LOG, String::new(), syntax::log_filter),
            format: reader.parsed(&setting::LOG_FORMAT, LogFormat::Text, syntax::log_format),
        },
    }
}

impl SettingReader<'_> {
    /// The text that was set, or the default.
    fn text(&self, setting: &Setting) -> &str {
        let default = match setting.fallback {
            DefaultValue::Text(text) => text,
            DefaultValue::Unset | DefaultValue::Computed(_) => "",
        };
        self.values.get(setting).map_or(default, |found| &found.text)
    }

    fn refuse(&mut self, setting: &Setting, problem: impl Into<String>) {
        self.faults.push(InvalidSetting::new(setting.name, origin(self.values, setting), problem));
    }

    /// What `parse` makes of the text; `stand_in` if it is wrong.
    fn parsed<T>(
        &mut self,
        setting: &Setting,
        stand_in: T,
        parse: impl FnOnce(&str) -> Result<T, String>,
    ) -> T {
        match parse(self.text(setting)) {
            Ok(value) => value,
            Err(problem) => {
                self.refuse(setting, problem);
                stand_in
            }
        }
    }

    fn number(&mut self, setting: &Setting, range: RangeInclusive<u64>) -> u64 {
        let stand_in = *range.start();
        self.parsed(setting, stand_in, |text| syntax::number(text, &range))
    }

    fn small_number(&mut self, setting: &Setting, range: RangeInclusive<u64>) -> u32 {
        u32::try_from(self.number(setting, range)).unwrap_or(u32::MAX)
    }

    fn size(&mut self, setting: &Setting, range: RangeInclusive<u64>) -> usize {
        usize::try_from(self.number(setting, range)).unwrap_or(usize::MAX)
    }

    fn secret(&self, setting: &Setting) -> Option<Secret> {
        self.values.get(setting).map(|found| Secret::new(found.text.to_string()))
    }

    fn mongodb_url(&mut self) -> Option<Secret> {
        let url = self.secret(&setting::MONGODB_URL)?;
        if !["mongodb://", "mongodb+srv://"].iter().any(|scheme| url.expose().starts_with(scheme)) {
            let problem = "is no MongoDB URL: mongodb://HOST:PORT/?replicaSet=NAME is one; unset it for the embedded \
                           database";
            self.refuse(&setting::MONGODB_URL, problem);
        }
        Some(url)
    }

    fn secret_key(&mut self) -> Option<Secret> {
        let key = self.secret(&setting::SECRET_KEY)?;
        if let Err(problem) = check_secret(key.expose()) {
            self.refuse(&setting::SECRET_KEY, problem);
        }
        Some(key)
    }

    fn master_key(&mut self) -> Option<LoadedKey> {
        let text = self.secret(&setting::MASTER_KEY)?;
        match MasterKey::from_base64(text.expose()) {
            Ok(key) => Some(LoadedKey { key, origin: origin(self.values, &setting::MASTER_KEY) }),
            Err(error) => {
                self.refuse(&setting::MASTER_KEY, error.to_string());
                None
            }
        }
    }

    fn previous_masters(&mut self) -> Vec<LoadedKey> {
        let Some(text) = self.secret(&setting::MASTER_KEY_PREVIOUS) else { return Vec::new() };
        let origin = origin(self.values, &setting::MASTER_KEY_PREVIOUS);
        let mut keys = Vec::new();
        let words = text.expose().split(',').map(str::trim).filter(|word| !word.is_empty());
        for (number, word) in (1..).zip(words) {
            match MasterKey::from_base64(word) {
                Ok(key) => keys.push(LoadedKey { key, origin: origin.clone() }),
                Err(error) => {
                    self.refuse(&setting::MASTER_KEY_PREVIOUS, format!("its key no. {number} {error}"));
                }
            }
        }
        keys
    }

    fn http(&mut self) -> HttpSettings {
        HttpSettings {
            listen: self.parsed(&setting::LISTEN, String::new(), syntax::listen),
            api_prefix: self.parsed(&setting::API_V1_STR, String::new(), syntax::api_prefix),
            project_name: self.text(&setting::PROJECT_NAME).to_owned(),
            cors_origins: self.parsed(&setting::CORS_ORIGINS, Vec::new(), syntax::cors_origins),
            trusted_proxies: self.parsed(&setting::TRUSTED_PROXIES, Vec::new(), syntax::networks),
        }
    }

    fn passwords(&mut self) -> PasswordSettings {
        let parallelism = self.small_number(&setting::ARGON2_PARALLELISM, PARALLELISM);
        let memory_kib = self.small_number(&setting::ARGON2_MEMORY_KIB, MEMORY_KIB);
        if memory_kib < 8 * parallelism {
            // RFC 9106 §3.1.
            let problem =
                format!("{memory_kib} KiB is too little for {parallelism} lanes: 8 KiB each are needed");
            self.refuse(&setting::ARGON2_MEMORY_KIB, problem);
        }
        let threads = if self.values.get(&setting::HASH_THREADS).is_some() {
            self.size(&setting::HASH_THREADS, THREADS)
        } else {
            self.cores
        };
        PasswordSettings {
            memory_kib,
            iterations: self.small_number(&setting::ARGON2_ITERATIONS, ITERATIONS),
            parallelism,
            threads,
            queue: self.size(&setting::HASH_QUEUE, QUEUE),
            min_length: self.size(&setting::PASSWORD_MIN_LENGTH, PASSWORD_LENGTH),
        }
    }

    /// The e-mail address and the password come together or not at all.
    fn administrator(&mut self, passwords: &PasswordSettings) -> Option<AdministratorSettings> {
        let email = self.values.get(&setting::ADMIN_EMAIL).map(|found| EmailAddress::parse(&found.text));
        let password = self.secret(&setting::ADMIN_PASSWORD);
        if let Some(Err(fault)) = &email {
            self.refuse(&setting::ADMIN_EMAIL, format!("is no e-mail address: {fault}"));
        }
        let policy = PasswordPolicy { min_length: passwords.min_length };
        if let Some(Err(fault)) = password.as_ref().map(|password| policy.check(password.expose())) {
            self.refuse(&setting::ADMIN_PASSWORD, fault.to_string());
        }
        match (email, password) {
            (Some(Ok(email)), Some(password)) => Some(AdministratorSettings { email, password }),
            (Some(_), None) => {
                self.refuse(
                    &setting::ADMIN_PASSWORD,
                    "is not set, but AEGIS_ADMIN_EMAIL is: set both or neither",
                );
                None
            }
            (None, Some(_)) => {
                self.refuse(
                    &setting::ADMIN_EMAIL,
                    "is not set, but AEGIS_ADMIN_PASSWORD is: set both or neither",
                );
                None
            }
            (Some(Err(_)), Some(_)) | (None, None) => None,
        }
    }
}

/// Whether a text can sign tokens.
pub(super) fn check_secret(text: &str) -> Result<(), String> {
    match text.len() {
        MIN_SECRET_BYTES.. => Ok(()),
        bytes => Err(format!("has {bytes} bytes, at least {MIN_SECRET_BYTES} are needed: {KEY_HINT}")),
    }
}

/// What a setting needs that is required and not set.
pub(super) fn missing_required(setting: &Setting) -> InvalidSetting {
    let problem = format!(
        "is not set; with MongoDB it is required, and every node needs the same one: {KEY_HINT}. Keep it apart from \
         the database"
    );
    InvalidSetting::new(setting.name, SettingSource::Default, problem)
}

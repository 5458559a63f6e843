//! Every setting, one row each: its name, the type of its value, its default, how much of it may be shown,
//! its parser and its documentation. Loading, `NAME_FILE` variants, `aegis config`, suggestions for misspelt
//! names and `docs/settings.md` are derived from this table.

use std::ops::Deref;
use std::path::PathBuf;

use domain::{EmailAddress, RestrictionLevel};
use ipnet::IpNet;
use jsonwebtoken::Algorithm;
use lettre::message::Mailbox;
use store::MasterKey;

use super::parse;
use super::settings::{LogFormat, LoginEventSetting, MailLanguage, Secret, SmtpSettings};

/// A row of the table.
#[derive(Debug)]
pub struct Definition {
    /// The name in the environment and in files.
    pub name: &'static str,
    pub default: DefaultValue,
    pub sensitivity: Sensitivity,
    /// One line for `docs/settings.md`.
    pub description: &'static str,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DefaultValue {
    /// Not set.
    Unset,
    Text(&'static str),
    /// Determined at startup, as described.
    Computed(&'static str),
}

/// How much of a value may be shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Sensitivity {
    Public,
    Secret,
    /// A database URL: its passwords are masked.
    Url,
}

/// A row and its parser. The parser's error says what is wrong and how to write the value; it never contains
/// a secret.
pub struct Setting<T> {
    definition: Definition,
    pub(super) parse: fn(&str) -> Result<T, String>,
}

impl<T> Setting<T> {
    pub(super) const fn definition(&self) -> &Definition {
        &self.definition
    }
}

impl<T> Deref for Setting<T> {
    type Target = Definition;

    fn deref(&self) -> &Definition {
        &self.definition
    }
}

impl Definition {
    /// The name of the setting that holds the path of a file with the value. Only secrets have one, so that
    /// they can be mounted instead of being passed in the environment.
    #[must_use]
    pub fn file_name(&self) -> Option<String> {
        (self.sensitivity != Sensitivity::Public).then(|| format!("{}_FILE", self.name))
    }

    /// The setting and the one that names its file.
    fn names(&self) -> impl Iterator<Item = String> {
        std::iter::once(self.name.to_owned()).chain(self.file_name())
    }
}

macro_rules! settings {
    ($(
        $id:ident: $type:ty = $name:literal, $default:expr, $sensitivity:expr, $parse:expr,
        $description:literal;
    )*) => {
        $(
            #[doc = concat!("`", $name, "`: ", $description, ".")]
            pub static $id: Setting<$type> = Setting {
                definition: Definition {
                    name: $name,
                    default: $default,
                    sensitivity: $sensitivity,
                    description: $description,
                },
                parse: $parse,
            };
        )*

        /// All settings, in the order in which they are shown.
        pub static ALL: &[&Definition] = &[$(&$id.definition),*];

        /// Parses a text as the value of the setting at that index of [`ALL`], for tests of the table itself.
        #[cfg(test)]
        pub(super) static PARSERS: &[fn(&str) -> Result<(), String>] =
            &[$(|text| ($id.parse)(text).map(drop)),*];
    };
}

use DefaultValue::{Computed, Text, Unset};
use Sensitivity::{Public, Secret as Hidden, Url};

settings! {
    MONGODB_URL: Secret = "MONGODB_URL", Unset, Url, parse::mongodb_url,
        "a MongoDB replica set; unset or empty: the embedded database";
    DATABASE_NAME: String = "DATABASE_NAME", Text("aegis"), Public, |text| Ok(text.to_owned()),
        "name of the MongoDB database";
    DATA_DIR: PathBuf = "AEGIS_DATA_DIR", Text("./aegis-data"), Public, |text| Ok(PathBuf::from(text)),
        "directory of the embedded database `aegis.db` and of generated keys";
    LISTEN: String = "AEGIS_LISTEN", Text("127.0.0.1:8000"), Public, parse::listen_address,
        "address and port to listen on; port 0 picks a free port and logs it";
    SECRET_KEY: Secret = "SECRET_KEY",
        Computed("embedded: `secret.key` in the data directory, generated at first start; MongoDB: required"),
        Hidden, parse::secret_key,
        "signs access tokens; at least 32 bytes. Not used if neither `ALGORITHM` nor `AEGIS_ALGORITHM_PREVIOUS` is \
         HS256, HS384 or HS512";
    SECRET_KEY_PREVIOUS: Secret = "AEGIS_SECRET_KEY_PREVIOUS", Unset, Hidden, parse::secret_key,
        "the `SECRET_KEY` before the last change: verifies access tokens but never signs; at least 32 bytes";
    MASTER_KEY: MasterKey = "AEGIS_MASTER_KEY",
        Computed("embedded: `master.key` in the data directory, generated at first start; MongoDB: required"),
        Hidden, parse::master_key,
        "master key (KEK), which wraps all stored keys; 32 bytes in base64. Without it all personal data is \
         lost";
    MASTER_KEY_PREVIOUS: Vec<MasterKey> = "AEGIS_MASTER_KEY_PREVIOUS", Unset, Hidden, parse::master_keys,
        "previous master keys, comma-separated: they unwrap stored keys until `aegis keys rotate` has \
         finished";
    ALGORITHM: Algorithm = "ALGORITHM", Text("HS256"), Public, parse::algorithm,
        "signature algorithm of access tokens: HS256, HS384 or HS512 with `SECRET_KEY`, or EdDSA or ES256 with keys \
         that the service makes, shares between nodes and publishes at `/.well-known/jwks.json`";
    ALGORITHM_PREVIOUS: Algorithm = "AEGIS_ALGORITHM_PREVIOUS", Unset, Public, parse::algorithm,
        "the `ALGORITHM` before the last change: verifies access tokens but never signs";
    ACCESS_TOKEN_EXPIRE_MINUTES: u64 = "ACCESS_TOKEN_EXPIRE_MINUTES", Text("10080"), Public,
        // At most a hundred years.
        |text| parse::number(text, &(1..=52_560_000)),
        "lifetime of an access token, in minutes, unless it belongs to a session";
    SESSION_TOKEN_MINUTES: u64 = "AEGIS_SESSION_TOKEN_MINUTES", Text("15"), Public,
        |text| parse::number(text, &(1..=1440)),
        "lifetime of an access token of a session, in minutes";
    SESSION_DAYS: u64 = "AEGIS_SESSION_DAYS", Text("90"), Public,
        |text| parse::number(text, &(1..=3650)),
        "lifetime of a session, in days: after it the user has to log in again";
    SESSION_IDLE_DAYS: u64 = "AEGIS_SESSION_IDLE_DAYS", Text("30"), Public,
        |text| parse::number(text, &(1..=3650)),
        "how long a session stays open without being refreshed, in days";
    API_V1_STR: String = "API_V1_STR", Text("/api/v1"), Public, parse::api_prefix,
        "path prefix of every endpoint";
    PROJECT_NAME: String = "PROJECT_NAME", Text("Aegis"), Public, |text| Ok(text.to_owned()),
        "the name shown at `/`, in the API description and in mails";
    CORS_ORIGINS: Vec<String> = "AEGIS_CORS_ORIGINS", Unset, Public, parse::cors_origins,
        "origins of web pages that may call the API, comma-separated; `*` allows all";
    TRUSTED_PROXIES: Vec<IpNet> = "AEGIS_TRUSTED_PROXIES", Unset, Public, parse::networks,
        "networks of the reverse proxies, such as 10.0.0.0/8, comma-separated: only their X-Forwarded-For is \
         trusted";
    MAX_CONNECTIONS: usize = "AEGIS_MAX_CONNECTIONS",
        Computed("10000, or the limit of open files less 256"), Public,
        |text| parse::number(text, &(16..=1_000_000)),
        "HTTP connections open at once, and requests in progress; at most a quarter of them from one \
         address, except from trusted proxies";
    METRICS_LISTEN: String = "AEGIS_METRICS_LISTEN", Unset, Public, parse::listen_address,
        "address and port of a listener that serves /metrics to every client; set, the main listener \
         requires a token from clients on the same machine too";
    CONSOLE: bool = "AEGIS_CONSOLE", Text("on"), Public, parse::on_or_off,
        "the web console at `/console`; `off`: its paths are answered with 404";
    WEBHOOK_ALLOW_PRIVATE: Vec<IpNet> = "AEGIS_WEBHOOK_ALLOW_PRIVATE", Unset, Public, parse::networks,
        "non-public networks that webhooks may reach, such as 10.1.0.0/16, comma-separated; plain http is \
         allowed there too";
    // The upper bounds of a hash's cost are those up to which `crate::crypto` verifies stored hashes.
    ARGON2_MEMORY_KIB: u32 = "AEGIS_ARGON2_MEMORY_KIB", Text("19456"), Public,
        |text| parse::number(text, &(8..=1024 * 1024)),
        "Argon2id memory per password hash, in KiB";
    ARGON2_ITERATIONS: u32 = "AEGIS_ARGON2_ITERATIONS", Text("2"), Public,
        |text| parse::number(text, &(1..=64)),
        "Argon2id passes over that memory";
    ARGON2_PARALLELISM: u32 = "AEGIS_ARGON2_PARALLELISM", Text("1"), Public,
        |text| parse::number(text, &(1..=64)),
        "Argon2id lanes";
    HASH_THREADS: usize = "AEGIS_HASH_THREADS", Computed("one per core"), Public,
        |text| parse::number(text, &(1..=1024)),
        "threads that hash passwords; each keeps the memory of one hash";
    HASH_QUEUE: usize = "AEGIS_HASH_QUEUE", Text("256"), Public,
        |text| parse::number(text, &(1..=1_000_000)),
        "password hashes that may be queued before logins are answered 503";
    PASSWORD_MIN_LENGTH: usize = "AEGIS_PASSWORD_MIN_LENGTH", Text("8"), Public,
        |text| parse::number(text, &(1..=1024)),
        "minimum length of a new password; 1 restores the rule of the FastAPI service, \
         NIST SP 800-63B-4 demands 15 where the password is the only factor";
    PASSWORD_MIN_SCORE: u8 = "AEGIS_PASSWORD_MIN_SCORE", Text("2"), Public,
        |text| parse::number(text, &(0..=4)),
        "minimum strength of a new password as zxcvbn estimates it, given the e-mail address and the username: \
         0 accepts any password, as the FastAPI service does, 4 demands 10 billion guesses";
    USERNAME_LEVEL: RestrictionLevel = "AEGIS_USERNAME_LEVEL", Text("highly-restrictive"), Public,
        parse::restriction_level,
        "which characters new usernames may contain and which scripts they may mix, as a restriction level of UTS \
         39: `ascii-only`, `single-script`, `highly-restrictive`, `moderately-restrictive`, \
         `minimally-restrictive` or `unrestricted`, which allows emoji and nearly all else";
    RATE_LIMITS: bool = "AEGIS_RATE_LIMITS", Text("on"), Public, parse::on_or_off,
        "limits of logins, sign-ups and webhook requests by client and account; `off` for load tests";
    LOGIN_EVENTS: LoginEventSetting = "AEGIS_LOGIN_EVENTS", Text("all"), Public, parse::login_events,
        "which logins become events: `all`, `failures` or `off`";
    ADMIN_EMAIL: EmailAddress = "AEGIS_ADMIN_EMAIL", Unset, Public, parse::email,
        "e-mail address of the first administrator, created at startup unless one exists; needs \
         `AEGIS_ADMIN_PASSWORD`";
    ADMIN_PASSWORD: Secret = "AEGIS_ADMIN_PASSWORD", Unset, Hidden, |text| Ok(Secret::new(text.to_owned())),
        "password of the first administrator";
    SMTP_URL: SmtpSettings = "AEGIS_SMTP_URL", Unset, Url, parse::smtp_url,
        "relay through which mails are sent, as `smtps://USER:PASSWORD@HOST:PORT` (TLS, port 465) or \
         `smtp://USER:PASSWORD@HOST:PORT` (STARTTLS, port 587), which a relay on the same machine does without. Unset: the \
         embedded database writes mails to `outbox` in the data directory, with MongoDB they are only counted";
    SMTP_CA: PathBuf = "AEGIS_SMTP_CA", Unset, Public, |text| Ok(PathBuf::from(text)),
        "PEM file of certificate authorities that the relay's certificate may be from, beside those of the system. Set, \
         a relay on the same machine needs STARTTLS too";
    MAIL_FROM: Mailbox = "AEGIS_MAIL_FROM", Unset, Public, parse::mailbox,
        "sender of mails, such as `Example <no-reply@example.org>`; required with `AEGIS_SMTP_URL`, otherwise \
         `aegis@localhost`";
    PUBLIC_URL: String = "AEGIS_PUBLIC_URL", Unset, Public, parse::public_url,
        "where the pages are that links in mails lead to, such as `https://example.org`: `/verify-email`, \
         `/reset-password` and `/invitation`, each with `#token=…`; required with `AEGIS_SMTP_URL`, otherwise \
         `http://localhost`";
    MAIL_TEMPLATES: PathBuf = "AEGIS_MAIL_TEMPLATES", Unset, Public, |text| Ok(PathBuf::from(text)),
        "directory of templates that replace the built-in ones of the same name, such as `reset_password.en.txt`";
    MAIL_LANGUAGE: MailLanguage = "AEGIS_MAIL_LANGUAGE", Text("en"), Public, parse::mail_language,
        "language of mails: `en` or `de`";
    LOG: String = "AEGIS_LOG", Text("info"), Public, parse::log_filter,
        "what is logged to stderr: a level, or `target=level` pairs such as `info,aegis=debug`";
    LOG_FORMAT: LogFormat = "AEGIS_LOG_FORMAT", Text("text"), Public, parse::log_format,
        "`text` for people or `json`, one object per line";
    MONGOD: PathBuf = "AEGIS_MONGOD", Unset, Public, |text| Ok(PathBuf::from(text)),
        "path of a `mongod`, for tests and benchmarks; the service does not use it";
}

/// Test runs and Kubernetes (`NAME_PORT`, `NAME_SERVICE_HOST` of a service called `aegis`) set variables with
/// these prefixes.
const FOREIGN_PREFIXES: [&str; 3] = ["AEGIS_TEST_", "AEGIS_PORT", "AEGIS_SERVICE_"];

/// Whether the name is that of a secret, or of a URL with one.
pub(super) fn is_secret(name: &str) -> bool {
    ALL.iter().any(|definition| definition.name == name && definition.sensitivity != Public)
}

/// Whether a name is no setting of Aegis although it starts with `AEGIS_`.
pub(super) fn is_foreign(name: &str) -> bool {
    FOREIGN_PREFIXES.iter().any(|prefix| name.starts_with(prefix))
}

pub(super) fn is_defined(name: &str) -> bool {
    ALL.iter().any(|definition| definition.names().any(|known| known == name))
}

/// The name most similar to an unknown one.
pub(super) fn closest_name(unknown: &str) -> String {
    let unknown = unknown.to_ascii_uppercase();
    let names = ALL.iter().flat_map(|definition| definition.names());
    names.min_by_key(|name| strsim::damerau_levenshtein(&unknown, name)).unwrap_or_default()
}

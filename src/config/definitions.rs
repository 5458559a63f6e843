//! Every setting, declared once: what it is called, what it is by default, and what it means. Parsing, `aegis config`,
//! suggestions for unknown names and `docs/settings.md` all follow from this table.

/// A setting.
#[derive(Debug)]
pub struct Setting {
    /// Its name, in the environment as in files.
    pub name: &'static str,
    /// What it is when nobody sets it.
    pub fallback: DefaultValue,
    /// How much of it may be shown.
    pub sensitivity: Sensitivity,
    /// What it means, in one line.
    pub meaning: &'static str,
}

/// What a setting is when nobody sets it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DefaultValue {
    /// Nothing.
    Unset,
    /// This text.
    Text(&'static str),
    /// Found out at start, as described.
    Computed(&'static str),
}

/// How much of a setting may be shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Sensitivity {
    /// All of it.
    Open,
    /// Nothing of it.
    Secret,
    /// All but the secrets within a database URL.
    Url,
}

impl Setting {
    /// The name of the setting that holds the path of a file with the value: secrets alone have one, so that they can
    /// be mounted instead of being passed in the environment.
    #[must_use]
    pub fn file_name(&self) -> Option<String> {
        (self.sensitivity != Sensitivity::Open).then(|| format!("{}_FILE", self.name))
    }

    const fn new(
        name: &'static str,
        fallback: DefaultValue,
        sensitivity: Sensitivity,
        meaning: &'static str,
    ) -> Self {
        Self { name, fallback, sensitivity, meaning }
    }
}

use DefaultValue::{Computed, Text, Unset};
use Sensitivity::{Open, Secret, Url};

/// `MONGODB_URL`.
pub static MONGODB_URL: Setting = Setting::new(
    "MONGODB_URL",
    Unset,
    Url,
    "a MongoDB replica set or sharded cluster; unset or empty: the embedded database",
);

/// `DATABASE_NAME`.
pub static DATABASE_NAME: Setting =
    Setting::new("DATABASE_NAME", Text("aegis"), Open, "the database on that server");

/// `AEGIS_DATA_DIR`.
pub static DATA_DIR: Setting = Setting::new(
    "AEGIS_DATA_DIR",
    Text("./aegis-data"),
    Open,
    "the folder of the embedded database `aegis.db` and of generated keys",
);

/// `AEGIS_LISTEN`.
pub static LISTEN: Setting = Setting::new(
    "AEGIS_LISTEN",
    Text("127.0.0.1:8000"),
    Open,
    "address and port to listen on; port 0 picks a free one and logs it",
);

/// `SECRET_KEY`.
pub static SECRET_KEY: Setting = Setting::new(
    "SECRET_KEY",
    Computed("embedded: `secret.key` in the data folder, made at first start; MongoDB: required"),
    Secret,
    "signs access tokens; at least 32 bytes",
);

/// `AEGIS_SECRET_KEY_PREVIOUS`.
pub static SECRET_KEY_PREVIOUS: Setting = Setting::new(
    "AEGIS_SECRET_KEY_PREVIOUS",
    Unset,
    Secret,
    "verifies access tokens but never signs: the key before the last change",
);

/// `AEGIS_MASTER_KEY`.
pub static MASTER_KEY: Setting = Setting::new(
    "AEGIS_MASTER_KEY",
    Computed("embedded: `master.key` in the data folder, made at first start; MongoDB: required"),
    Secret,
    "wraps all stored keys; 32 bytes in base64. Whoever loses it loses all personal data",
);

/// `AEGIS_MASTER_KEY_PREVIOUS`.
pub static MASTER_KEY_PREVIOUS: Setting = Setting::new(
    "AEGIS_MASTER_KEY_PREVIOUS",
    Unset,
    Secret,
    "master keys of before, separated by commas: they open what they have wrapped until `aegis keys rotate` is done",
);

/// `ALGORITHM`.
pub static ALGORITHM: Setting =
    Setting::new("ALGORITHM", Text("HS256"), Open, "how access tokens are signed: HS256, HS384 or HS512");

/// `ACCESS_TOKEN_EXPIRE_MINUTES`.
pub static ACCESS_TOKEN_EXPIRE_MINUTES: Setting = Setting::new(
    "ACCESS_TOKEN_EXPIRE_MINUTES",
    Text("10080"),
    Open,
    "how long an access token is good, in minutes",
);

/// `API_V1_STR`.
pub static API_V1_STR: Setting =
    Setting::new("API_V1_STR", Text("/api/v1"), Open, "the path before every endpoint");

/// `PROJECT_NAME`.
pub static PROJECT_NAME: Setting =
    Setting::new("PROJECT_NAME", Text("Aegis"), Open, "the name shown at `/` and in the API description");

/// `AEGIS_CORS_ORIGINS`.
pub static CORS_ORIGINS: Setting = Setting::new(
    "AEGIS_CORS_ORIGINS",
    Unset,
    Open,
    "origins of web pages that may call the API, separated by commas; `*`: all",
);

/// `AEGIS_TRUSTED_PROXIES`.
pub static TRUSTED_PROXIES: Setting = Setting::new(
    "AEGIS_TRUSTED_PROXIES",
    Unset,
    Open,
    "networks, such as 10.0.0.0/8, of the proxies before the service, separated by commas: only their X-Forwarded-For is believed",
);

/// `AEGIS_WEBHOOK_ALLOW_PRIVATE`.
pub static WEBHOOK_ALLOW_PRIVATE: Setting = Setting::new(
    "AEGIS_WEBHOOK_ALLOW_PRIVATE",
    Unset,
    Open,
    "networks, such as 10.1.0.0/16, separated by commas, that webhooks may reach although they are not public; http is allowed there too",
);

/// `AEGIS_ARGON2_MEMORY_KIB`.
pub static ARGON2_MEMORY_KIB: Setting =
    Setting::new("AEGIS_ARGON2_MEMORY_KIB", Text("19456"), Open, "memory of one password hash, in KiB");

/// `AEGIS_ARGON2_ITERATIONS`.
pub static ARGON2_ITERATIONS: Setting =
    Setting::new("AEGIS_ARGON2_ITERATIONS", Text("2"), Open, "passes over that memory");

/// `AEGIS_ARGON2_PARALLELISM`.
pub static ARGON2_PARALLELISM: Setting =
    Setting::new("AEGIS_ARGON2_PARALLELISM", Text("1"), Open, "lanes of a password hash");

/// `AEGIS_HASH_THREADS`.
pub static HASH_THREADS: Setting = Setting::new(
    "AEGIS_HASH_THREADS",
    Computed("one per core"),
    Open,
    "threads that hash passwords; each keeps the memory of one hash",
);

/// `AEGIS_HASH_QUEUE`.
pub static HASH_QUEUE: Setting = Setting::new(
    "AEGIS_HASH_QUEUE",
    Text("256"),
    Open,
    "how many password hashes may wait before logins are answered 503",
);

/// `AEGIS_PASSWORD_MIN_LENGTH`.
pub static PASSWORD_MIN_LENGTH: Setting = Setting::new(
    "AEGIS_PASSWORD_MIN_LENGTH",
    Text("8"),
    Open,
    "fewest characters of a new password; 1 restores the predecessor's rule, NIST SP 800-63B-4 asks 15 where the password is the sole factor",
);

/// `AEGIS_ADMIN_EMAIL`.
pub static ADMIN_EMAIL: Setting = Setting::new(
    "AEGIS_ADMIN_EMAIL",
    Unset,
    Open,
    "e-mail address of the first administrator, created at start only while there is none; needs AEGIS_ADMIN_PASSWORD",
);

/// `AEGIS_ADMIN_PASSWORD`.
pub static ADMIN_PASSWORD: Setting =
    Setting::new("AEGIS_ADMIN_PASSWORD", Unset, Secret, "password of the first administrator");

/// `AEGIS_LOG`.
pub static LOG: Setting = Setting::new(
    "AEGIS_LOG",
    Text("info"),
    Open,
    "what is logged to stderr: a level, or `target=level` pairs such as `info,aegis=debug`",
);

/// `AEGIS_LOG_FORMAT`.
pub static LOG_FORMAT: Setting =
    Setting::new("AEGIS_LOG_FORMAT", Text("text"), Open, "`text` for people or `json`, one object per line");

/// `AEGIS_MONGOD`.
pub static MONGOD: Setting = Setting::new(
    "AEGIS_MONGOD",
    Unset,
    Open,
    "path of a `mongod`, for tests and benchmarks; the service does not use it",
);

/// All of them, in the order in which they are shown.
pub static ALL: [&Setting; 26] = [
    &MONGODB_URL,
    &DATABASE_NAME,
    &DATA_DIR,
    &LISTEN,
    &SECRET_KEY,
    &SECRET_KEY_PREVIOUS,
    &MASTER_KEY,
    &MASTER_KEY_PREVIOUS,
    &ALGORITHM,
    &ACCESS_TOKEN_EXPIRE_MINUTES,
    &API_V1_STR,
    &PROJECT_NAME,
    &CORS_ORIGINS,
    &TRUSTED_PROXIES,
    &WEBHOOK_ALLOW_PRIVATE,
    &ARGON2_MEMORY_KIB,
    &ARGON2_ITERATIONS,
    &ARGON2_PARALLELISM,
    &HASH_THREADS,
    &HASH_QUEUE,
    &PASSWORD_MIN_LENGTH,
    &ADMIN_EMAIL,
    &ADMIN_PASSWORD,
    &LOG,
    &LOG_FORMAT,
    &MONGOD,
];

/// Names that look like settings and are none: test runs and Kubernetes put them into the environment.
const IGNORED_PREFIXES: [&str; 3] = ["AEGIS_TEST_", "AEGIS_PORT", "AEGIS_SERVICE_"];

/// Whether a name belongs to somebody else although it begins like ours.
#[must_use]
pub fn is_ignored(name: &str) -> bool {
    IGNORED_PREFIXES.iter().any(|prefix| name.starts_with(prefix))
}

/// Every name that can be set, those of files with secrets included.
pub fn names() -> impl Iterator<Item = String> {
    ALL.iter().flat_map(|setting| std::iter::once(setting.name.to_owned()).chain(setting.file_name()))
}

/// The setting name most like an unknown one.
#[must_use]
pub fn closest_name(unknown: &str) -> String {
    let unknown = unknown.to_ascii_uppercase();
    names().min_by_key(|name| strsim::damerau_levenshtein(&unknown, name)).unwrap_or_default()
}

//! The settings of one process, parsed and checked: one small struct per concern. Where they come from is `load`'s
//! business.

use std::fmt;
use std::path::PathBuf;
use std::time::Duration;

use domain::EmailAddress;
use jsonwebtoken::Algorithm;
use zeroize::Zeroizing;

use super::master_keys::MasterKeySetting;
use super::network::Network;

/// Everything that can be set.
#[derive(Clone, Debug)]
pub struct Settings {
    /// Where events and read models are kept.
    pub database: DatabaseSettings,
    /// They wrap all stored keys.
    pub master_key: MasterKeySetting,
    /// How the service is reached.
    pub http: HttpSettings,
    /// Where webhooks may send to.
    pub webhooks: WebhookSettings,
    /// How access tokens are signed.
    pub tokens: TokenSettings,
    /// How passwords are hashed, and which are accepted.
    pub passwords: PasswordSettings,
    /// The first administrator, made at start while there is none.
    pub administrator: Option<AdministratorSettings>,
    /// What is logged, and how.
    pub log: LogSettings,
}

/// Where events and read models are kept.
#[derive(Clone, Debug)]
pub enum DatabaseSettings {
    /// The embedded database in a folder of its own (`AEGIS_DATA_DIR`).
    Embedded {
        /// The folder.
        data_dir: PathBuf,
    },
    /// A MongoDB replica set or sharded cluster.
    Mongo {
        /// `MONGODB_URL`; holds a password, as a rule.
        url: Secret,
        /// `DATABASE_NAME`.
        name: String,
    },
}

/// How the service is reached.
#[derive(Clone, Debug)]
pub struct HttpSettings {
    /// `AEGIS_LISTEN`: address and port; port 0 picks a free one.
    pub listen: String,
    /// `API_V1_STR`: the path before every endpoint, such as `/api/v1`.
    pub api_prefix: String,
    /// `PROJECT_NAME`: shown at `/` and in the API description.
    pub project_name: String,
    /// `AEGIS_CORS_ORIGINS`: origins of pages that may call the API; `*` allows all.
    pub cors_origins: Vec<String>,
    /// `AEGIS_TRUSTED_PROXIES`: whose word on the client's address is taken.
    pub trusted_proxies: Vec<Network>,
}

impl HttpSettings {
    /// The path of what stands at `path` below the prefix.
    #[must_use]
    pub fn path(&self, path: &str) -> String {
        format!("{}{path}", self.api_prefix.trim_end_matches('/'))
    }
}

/// Where webhooks may send to.
#[derive(Clone, Debug, Default)]
pub struct WebhookSettings {
    /// `AEGIS_WEBHOOK_ALLOW_PRIVATE`: networks that may be reached although they are not public.
    pub allow_private: Vec<Network>,
}

/// How access tokens are signed.
#[derive(Clone, Debug)]
pub struct TokenSettings {
    /// `SECRET_KEY`: signs and verifies; at least 32 bytes.
    pub secret_key: Secret,
    /// `AEGIS_SECRET_KEY_PREVIOUS`: verifies only.
    pub previous_key: Option<Secret>,
    /// `ALGORITHM`: HS256, HS384 or HS512.
    pub algorithm: Algorithm,
    /// `ACCESS_TOKEN_EXPIRE_MINUTES`.
    pub lifetime: Duration,
}

/// How passwords are hashed, and which are accepted.
#[derive(Clone, Copy, Debug)]
pub struct PasswordSettings {
    /// `AEGIS_ARGON2_MEMORY_KIB`.
    pub memory_kib: u32,
    /// `AEGIS_ARGON2_ITERATIONS`.
    pub iterations: u32,
    /// `AEGIS_ARGON2_PARALLELISM`.
    pub parallelism: u32,
    /// `AEGIS_HASH_THREADS`: threads that hash, and do nothing else.
    pub threads: usize,
    /// `AEGIS_HASH_QUEUE`: how many hashes may wait.
    pub queue: usize,
    /// `AEGIS_PASSWORD_MIN_LENGTH`: in characters.
    pub min_length: usize,
}

/// The first administrator.
#[derive(Clone, Debug)]
pub struct AdministratorSettings {
    /// `AEGIS_ADMIN_EMAIL`.
    pub email: EmailAddress,
    /// `AEGIS_ADMIN_PASSWORD`.
    pub password: Secret,
}

/// What is logged, and how.
#[derive(Clone, Debug)]
pub struct LogSettings {
    /// `AEGIS_LOG`: a filter such as `info` or `aegis=debug`.
    pub filter: String,
    /// `AEGIS_LOG_FORMAT`.
    pub format: LogFormat,
}

/// How a log line looks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LogFormat {
    /// For people.
    Text,
    /// One JSON object per line.
    Json,
}

/// A text that must not be shown: no `Display`, no `Serialize`, and `Debug` tells nothing. Wiped when dropped.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(Zeroizing<String>);

impl Secret {
    /// Takes the text in.
    #[must_use]
    pub fn new(text: String) -> Self {
        Self(Zeroizing::new(text))
    }

    /// The text, for the one place that needs it.
    #[must_use]
    pub fn expose(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str("Secret(…)")
    }
}

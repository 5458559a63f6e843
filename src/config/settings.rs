//! Parsed and checked settings, one struct per concern.

use std::fmt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use domain::EmailAddress;
use ipnet::IpNet;
use jsonwebtoken::Algorithm;
use lettre::message::Mailbox;
use zeroize::Zeroizing;

use super::redaction;

/// Where events and read models are stored.
#[derive(Clone, Debug)]
pub enum DatabaseSettings {
    /// The embedded database.
    Embedded { data_dir: PathBuf },
    /// A MongoDB replica set.
    Mongo {
        /// Usually contains a password.
        url: Secret,
        name: String,
    },
}

impl DatabaseSettings {
    /// The data directory of the embedded database.
    pub(super) fn data_dir(&self) -> Option<&Path> {
        match self {
            Self::Embedded { data_dir } => Some(data_dir),
            Self::Mongo { .. } => None,
        }
    }
}

#[derive(Clone, Debug)]
pub struct HttpSettings {
    /// Address and port; port 0 picks a free port.
    pub listen: String,
    /// The path prefix of every endpoint, such as `/api/v1`.
    pub api_prefix: String,
    /// Shown at `/` and in the API description.
    pub project_name: String,
    /// Origins of web pages that may call the API; `*` allows all.
    pub cors_origins: Vec<String>,
    /// Reverse proxies whose `X-Forwarded-For` is trusted.
    pub trusted_proxies: Vec<IpNet>,
    /// Connections open at once.
    pub max_connections: usize,
    /// Address and port of the listener for metrics.
    pub metrics_listen: Option<String>,
    /// Whether the web console is served.
    pub console: bool,
}

impl HttpSettings {
    /// The full path of `path`, which is relative to the prefix.
    #[must_use]
    pub fn path(&self, path: &str) -> String {
        format!("{}{path}", self.api_prefix.trim_end_matches('/'))
    }
}

#[derive(Clone, Debug, Default)]
pub struct WebhookSettings {
    /// Networks that webhooks may reach although they are not public.
    pub allow_private: Vec<IpNet>,
}

/// How mails are sent, and what they say.
#[derive(Clone, Debug)]
pub struct MailSettings {
    pub transport: MailTransportSetting,
    /// The sender.
    pub from: Mailbox,
    /// Where the pages are that links lead to, without a slash at the end.
    pub public_url: String,
    /// The directory of templates that replace built-in ones.
    pub templates: Option<PathBuf>,
    pub language: MailLanguage,
}

#[derive(Clone, Debug)]
pub enum MailTransportSetting {
    Smtp(SmtpSettings),
    /// Mails are written to files in this directory.
    Outbox(PathBuf),
    /// Mails are only counted.
    Off,
}

/// A relay.
#[derive(Clone, Debug, Default)]
pub struct SmtpSettings {
    pub host: String,
    pub port: u16,
    /// Whether TLS begins with the connection, not with STARTTLS.
    pub is_implicit_tls: bool,
    pub credentials: Option<SmtpCredentials>,
    /// A file of certificate authorities.
    pub ca: Option<PathBuf>,
}

#[derive(Clone, Debug)]
pub struct SmtpCredentials {
    pub user: String,
    pub password: Secret,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum MailLanguage {
    #[default]
    English,
    German,
}

impl MailLanguage {
    /// The code of the language, as in the names of templates.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::English => "en",
            Self::German => "de",
        }
    }
}

/// How access tokens are signed.
#[derive(Clone, Debug)]
pub struct TokenSettings {
    /// Signs and verifies with an HMAC algorithm; at least 32 bytes.
    pub secret_key: Option<Secret>,
    /// Verifies only.
    pub previous_key: Option<Secret>,
    /// One of the HMAC algorithms, `EdDSA` or `ES256`.
    pub algorithm: Algorithm,
    /// Verifies only.
    pub previous_algorithm: Option<Algorithm>,
    pub lifetime: Duration,
}

/// How long sessions and their access tokens are valid.
#[derive(Clone, Copy, Debug)]
pub struct SessionSettings {
    /// Of an access token.
    pub token_lifetime: Duration,
    /// Of a session, at most.
    pub lifetime: Duration,
    /// Of a session since it was last refreshed.
    pub idle_lifetime: Duration,
}

/// How passwords are hashed, and which are accepted.
#[derive(Clone, Copy, Debug)]
pub struct PasswordSettings {
    pub memory_kib: u32,
    pub iterations: u32,
    pub parallelism: u32,
    /// Threads that only hash passwords.
    pub threads: usize,
    /// Hashes that may be queued.
    pub queue: usize,
    /// In characters.
    pub min_length: usize,
    /// The estimated strength of a new password, from 0 (any password is accepted) to 4.
    pub min_score: u8,
}

/// Which logins become events.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum LoginEventSetting {
    #[default]
    All,
    /// Failed ones.
    Failures,
    Off,
}

/// The first administrator.
#[derive(Clone, Debug)]
pub struct AdministratorSettings {
    pub email: EmailAddress,
    pub password: Secret,
}

#[derive(Clone, Debug)]
pub struct LogSettings {
    /// A filter of `tracing` such as `info` or `aegis=debug`.
    pub filter: String,
    pub format: LogFormat,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum LogFormat {
    /// For people.
    #[default]
    Text,
    /// One JSON object per line.
    Json,
}

/// A text that must not be shown: no `Display`, no `Serialize`, a `Debug` without content, masked by value in all
/// output. Wiped when dropped.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(Zeroizing<String>);

impl Secret {
    #[must_use]
    pub fn new(text: String) -> Self {
        redaction::register(&text);
        Self(Zeroizing::new(text))
    }

    /// The text, for the code that uses it.
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

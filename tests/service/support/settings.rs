//! Settings for tests, with cheap password hashing.

use std::time::Duration;

use aegis::config::{
    HttpSettings, LogFormat, LogSettings, LoginEventSetting, MailLanguage, MailSettings,
    MailTransportSetting, PasswordSettings, Secret, SessionSettings, Settings, TokenSettings,
    WebhookSettings,
};
use jsonwebtoken::Algorithm;
use store::MasterKey;
use testkit::service::{MASTER_KEY, SECRET_KEY};

use super::Store;

pub(crate) fn settings(store: &Store) -> Settings {
    Settings {
        database: store.settings(),
        master_key: MasterKey::from_base64(MASTER_KEY).unwrap().into(),
        http: HttpSettings {
            listen: "127.0.0.1:0".to_owned(),
            api_prefix: "/api/v1".to_owned(),
            project_name: "Aegis".to_owned(),
            cors_origins: vec!["https://app.example".to_owned()],
            trusted_proxies: Vec::new(),
            max_connections: 10_000,
            metrics_listen: None,
            console: true,
        },
        webhooks: WebhookSettings { allow_private: vec!["127.0.0.0/8".parse().unwrap()] },
        mail: MailSettings {
            transport: MailTransportSetting::Off,
            from: "Aegis <no-reply@example.org>".parse().unwrap(),
            public_url: "https://example.org".to_owned(),
            templates: None,
            language: MailLanguage::English,
        },
        tokens: TokenSettings {
            secret_key: Some(Secret::new(SECRET_KEY.to_owned())),
            previous_key: None,
            algorithm: Algorithm::HS256,
            previous_algorithm: None,
            lifetime: Duration::from_hours(7 * 24),
        },
        sessions: SessionSettings {
            token_lifetime: Duration::from_mins(15),
            lifetime: Duration::from_hours(90 * 24),
            idle_lifetime: Duration::from_hours(30 * 24),
        },
        passwords: PasswordSettings {
            memory_kib: 64,
            iterations: 1,
            parallelism: 1,
            threads: 2,
            queue: 256,
            min_length: 8,
            min_score: 2,
        },
        usernames: domain::UsernamePolicy::default(),
        rate_limits: true,
        // Most tests count the events of what they do; those of logins turn this on.
        login_events: LoginEventSetting::Off,
        administrator: None,
        log: LogSettings { filter: "info".to_owned(), format: LogFormat::Text },
    }
}

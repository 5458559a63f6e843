//! Mails to users, received by a real relay.

mod delivery;
mod failures;
mod kills;
mod links;
mod outbox;
mod relay;

use aegis::config::{MailSettings, MailTransportSetting, Secret, Settings, SmtpCredentials, SmtpSettings};
use relay::{Encryption, PASSWORD, Relay, USER};
use serde_json::{Value, json};

use crate::support::{Store, TestApp, User, email_of};

/// A service that sends through the relay.
async fn start(store: Store, relay: &Relay) -> TestApp {
    start_with(store, relay, |_| {}).await
}

async fn start_with(store: Store, relay: &Relay, change: impl FnOnce(&mut MailSettings)) -> TestApp {
    let relay = MailTransportSetting::Smtp(relay.settings());
    TestApp::start_with(store, |settings: &mut Settings| {
        settings.mail.transport = relay;
        change(&mut settings.mail);
    })
    .await
}

impl Relay {
    fn settings(&self) -> SmtpSettings {
        let password = Secret::new(PASSWORD.to_owned());
        SmtpSettings {
            host: "localhost".to_owned(),
            port: self.port(),
            is_implicit_tls: matches!(self.encryption(), Encryption::Implicit),
            credentials: Some(SmtpCredentials { user: USER.to_owned(), password }),
            ca: self.ca(),
        }
    }
}

/// An administrator creates a user without a password, who is invited by mail.
async fn invite(admin: &User, name: &str) -> Value {
    let body = json!({"email": email_of(name), "username": name});
    admin.post("/users").json(&body).send().await.expect(201).json()
}

fn subject(mail: &Value) -> &str {
    mail["headers"]["subject"].as_str().unwrap()
}

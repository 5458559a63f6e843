//! Which events have a mail, who gets it, and what it says.

use std::fs;

use aegis::config::{MailLanguage, MailSettings, MailTransportSetting, SmtpSettings};
use domain::{ErasureReason, UserCommand};
use reqwest::Method;
use serde_json::json;
use tempfile::TempDir;
use testkit::reserve_port;

use super::relay::{Encryption, Relay, link};
use super::{invite, start, start_with, subject};
use crate::support::{
    PASSWORD, Store, TestApp, captured_logs, contains_text, dump, email_of, eventually, metric, metrics,
    on_both_stores, on_one_store,
};

on_both_stores! {
    changes_are_notified_and_an_invitation_carries_a_link
    erased_recipient_gets_no_mail
}

mod on_sqlite {
    use super::{
        mails_are_handed_over_over_tls, mails_speak_the_language_and_the_words_of_the_operator, on_one_store,
    };

    on_one_store! { sqlite:
        mails_are_handed_over_over_tls
        mails_speak_the_language_and_the_words_of_the_operator
    }
}

async fn changes_are_notified_and_an_invitation_carries_a_link(store: Store) {
    let relay = Relay::start(Encryption::Implicit).await;
    let app = start(store, &relay).await;
    let admin = app.admin().await;
    invite(&admin, "ivy").await;
    let mail = relay.mail_to("ivy@example.com").await;
    assert_eq!(subject(&mail), "Your account for Aegis");
    let invitation = link(&mail);
    assert!(invitation.starts_with("https://example.org/invitation#token="), "{invitation}");
    assert!(mail["html"].as_str().unwrap().contains("ivy"), "{mail}");
    let token = invitation.split_once("#token=").unwrap().1;
    assert!(!captured_logs().contains(token), "the token is logged");
    for (table, bytes) in dump(app.store()).await {
        assert!(!contains_text(&bytes, token), "the token is in {table}");
    }

    let eve = app.sign_up("eve").await;
    eve.post("/auth/verify-email/request").send().await.expect(202);
    let mail = relay.mail_to("eve@example.com").await;
    let [text, html] = [&mail["text"], &mail["html"]].map(|part| part.as_str().unwrap());
    assert!(
        text.starts_with("Hello,") && html.contains("<p>Hello,</p>"),
        "anyone may have chosen the name: {mail}"
    );
    let token = link(&mail).split_once("#token=").unwrap().1.to_owned();
    app.post("/auth/verify-email").json(&json!({"token": token})).send().await.expect(204);
    let new = json!({"email": "eva@example.com", "current_password": PASSWORD});
    eve.request(Method::PATCH, "/users/me").json(&new).send().await.expect(200);
    let notice = async || {
        let mut mails = relay.received("eve@example.com").into_iter();
        mails.find(|mail| subject(mail).contains("e-mail address of your account"))
    };
    let notice = eventually("the notice to the verified address", notice).await;
    assert!(notice["text"].as_str().unwrap().starts_with("Hello eve,"), "{notice}");
    assert!(
        !notice["text"].as_str().unwrap().contains("eva@"),
        "the new address stays with its user: {notice}"
    );
    let new = json!({"email": "evi@example.com", "current_password": PASSWORD});
    eve.request(Method::PATCH, "/users/me").json(&new).send().await.expect(200);
    let new = json!({"current_password": PASSWORD, "new_password": "a much longer way to say it"});
    eve.post("/users/me/password").json(&new).send().await.expect(204);
    let notice = relay.mail_to("evi@example.com").await;
    assert_eq!(subject(&notice), "Your password for Aegis was changed");
    assert!(notice["text"].as_str().unwrap().starts_with("Hello,"), "{notice}");
    assert!(relay.received("eva@example.com").is_empty(), "no notice to an address that was never verified");
    assert_eq!(relay.all_received().len(), 4, "neither sign-ups nor the new address have mails");
    let body = app.readiness().await.expect(200).json();
    assert_eq!(body["mail"], "smtp");
    let counted = eventually("the last mail is done with", async || {
        let text = metrics(&app).await;
        (metric(&text, "aegis_mails_pending") == Some(0.0)).then_some(text)
    });
    assert_eq!(metric(&counted.await, "aegis_mails_total{outcome=\"sent\"}"), Some(4.0));
}

/// The address is erased while the relay is out of reach.
async fn erased_recipient_gets_no_mail(store: Store) {
    let port = reserve_port();
    let gone = SmtpSettings { host: "localhost".to_owned(), port, ..SmtpSettings::default() };
    let app = TestApp::start_with(store.clone(), |settings| {
        settings.mail.transport = MailTransportSetting::Smtp(gone);
    })
    .await;
    let admin = app.admin().await;
    let id = invite(&admin, "ivy").await["id"].as_str().unwrap().to_owned();
    invite(&admin, "joe").await;
    app.command(&id, UserCommand::Deactivate { reason: None }).await;
    app.command(&id, UserCommand::Erase { reason: ErasureReason::Request }).await;
    app.stopped().await;
    let relay = Relay::start(Encryption::None).await;
    let app = start(store, &relay).await;
    relay.mail_to("joe@example.com").await;
    let void = async || {
        let text = metrics(&app).await;
        (metric(&text, "aegis_mails_total{outcome=\"void\"}") == Some(1.0)).then_some(())
    };
    eventually("the mail is dropped", void).await;
    assert_eq!(relay.all_received().len(), 1);
}

async fn mails_are_handed_over_over_tls() {
    for (encryption, is_encrypted) in
        [(Encryption::StartTls, true), (Encryption::Implicit, true), (Encryption::None, false)]
    {
        let relay = Relay::start(encryption).await;
        let app = start(Store::sqlite(), &relay).await;
        let admin = app.admin().await;
        invite(&admin, "ivy").await;
        let mail = relay.mail_to("ivy@example.com").await;
        assert_eq!((&mail["tls"], &mail["authenticated"]), (&json!(is_encrypted), &json!(true)));
        let headers = &mail["headers"];
        assert_eq!(headers["from"], "Aegis <no-reply@example.org>");
        assert_eq!(headers["to"], "ivy@example.com");
        assert_eq!(headers["auto-submitted"], "auto-generated");
        let identity = app.services().store.identity();
        let head = app.head().await;
        let id = format!("<{}-{}-{head}@example.org>", identity.id.simple(), identity.epoch);
        assert_eq!(headers["message-id"], id.as_str());
        assert!(headers["date"].as_str().unwrap().ends_with("+0000"), "{headers}");
    }
}

async fn mails_speak_the_language_and_the_words_of_the_operator() {
    let relay = Relay::start(Encryption::None).await;
    let german = |settings: &mut MailSettings| settings.language = MailLanguage::German;
    let app = start_with(Store::sqlite(), &relay, german).await;
    invite(&app.admin().await, "ivy").await;
    let mail = relay.mail_to("ivy@example.com").await;
    assert_eq!(subject(&mail), "Ihr Konto für Aegis");
    assert!(mail["text"].as_str().unwrap().contains("Wählen Sie ein Passwort"), "{mail}");
    assert!(mail["html"].as_str().unwrap().contains("<html lang=\"de\">"), "{mail}");

    let folder = TempDir::new().unwrap();
    let text = "Subject: Welcome, {{ username }}\n\nStart at {{ link }}\n";
    fs::write(folder.path().join("invitation.en.txt"), text).unwrap();
    let replaced = folder.path().to_owned();
    let app = start_with(Store::sqlite(), &relay, |settings| settings.templates = Some(replaced)).await;
    invite(&app.admin().await, "joe").await;
    let mail = relay.mail_to(&email_of("joe")).await;
    assert_eq!(subject(&mail), "Welcome, joe");
    assert_eq!(mail["text"].as_str().unwrap().trim_end(), format!("Start at {}", link(&mail)));
    assert!(mail["html"].as_str().unwrap().contains("Choose a password"), "the other is built in");
}

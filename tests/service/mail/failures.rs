//! Relays that refuse, postpone, hang or are gone.

use std::time::Duration;

use aegis::config::{MailTransportSetting, Secret, SmtpCredentials, SmtpSettings};
use serde_json::json;
use testkit::reserve_port;
use testkit::service::eventually_within;

use super::relay::{Encryption, Relay, USER};
use super::{invite, start};
use crate::support::{
    Store, TestApp, captured_logs, eventually, metric, metrics, on_both_stores, on_one_store,
};

on_both_stores! {
    refused_mail_is_given_up_and_a_greylisted_one_delivered
    internationalised_domain_is_reached_through_an_ascii_relay
}

mod on_sqlite {
    use super::{
        hanging_recipient_holds_up_no_other, mails_wait_for_a_relay_that_is_gone, on_one_store,
        wrong_password_of_the_relay_loses_no_mail,
    };

    on_one_store! { sqlite:
        hanging_recipient_holds_up_no_other
        mails_wait_for_a_relay_that_is_gone
        wrong_password_of_the_relay_loses_no_mail
    }
}

async fn outcome(app: &TestApp, outcome: &str) -> f64 {
    metric(&metrics(app).await, &format!("aegis_mails_total{{outcome=\"{outcome}\"}}")).unwrap()
}

async fn await_outcome(app: &TestApp, name: &str, count: f64) {
    let reached = async || (outcome(app, name).await >= count).then_some(());
    eventually(&format!("{count} mails {name}"), reached).await;
}

async fn refused_mail_is_given_up_and_a_greylisted_one_delivered(store: Store) {
    let relay = Relay::start(Encryption::None).await;
    let app = start(store, &relay).await;
    let admin = app.admin().await;
    for name in ["refused-zoe", "greylisted-zoe", "zoe"] {
        invite(&admin, name).await;
    }
    relay.mail_to("zoe@example.com").await;
    relay.mail_to("greylisted-zoe@example.com").await;
    await_outcome(&app, "given_up", 1.0).await;
    await_outcome(&app, "sent", 2.0).await;
    assert_eq!(relay.attempts("refused-zoe@example.com"), 1);
    assert!((outcome(&app, "failed").await - 1.0).abs() < 0.5, "the greylisted one failed once");
    let logged = captured_logs();
    assert!(logged.contains("refuses the mail with code 550"), "{logged}");
    assert!(!logged.contains("-zoe@example.com"), "an address is logged");
}

async fn internationalised_domain_is_reached_through_an_ascii_relay(store: Store) {
    let relay = Relay::start(Encryption::None).await;
    let app = start(store, &relay).await;
    let body = json!({"email": "Zoe@BÜCHER.example", "username": "zoe"});
    app.admin().await.post("/users").json(&body).send().await.expect(201);
    let mail = relay.mail_to("Zoe@xn--bcher-kva.example").await;
    assert_eq!(mail["headers"]["to"], "Zoe@xn--bcher-kva.example");
    assert!(mail["text"].as_str().unwrap().contains("Zoe@bücher.example"), "{mail}");
}

async fn hanging_recipient_holds_up_no_other() {
    let relay = Relay::start(Encryption::None).await;
    let app = start(Store::sqlite(), &relay).await;
    let admin = app.admin().await;
    invite(&admin, "hanging").await;
    relay.wait_for("the first attempt", |step| step["to"] == "hanging@example.com").await;
    for name in ["zoe", "yan", "xia"] {
        invite(&admin, name).await;
        relay.mail_to(&crate::support::email_of(name)).await;
    }
    assert_eq!(relay.attempts("hanging@example.com"), 1, "the others were delivered meanwhile");
    eventually_within(Duration::from_mins(1), "the second attempt", async || {
        (relay.attempts("hanging@example.com") == 2).then_some(())
    })
    .await;
    assert_eq!(relay.all_received().len(), 3);
}

async fn mails_wait_for_a_relay_that_is_gone() {
    let (store, port) = (Store::sqlite(), reserve_port());
    let gone = SmtpSettings { host: "localhost".to_owned(), port, ..SmtpSettings::default() };
    let app = TestApp::start_with(store.clone(), |settings| {
        settings.mail.transport = MailTransportSetting::Smtp(gone);
    })
    .await;
    let admin = app.admin().await;
    invite(&admin, "zoe").await;
    await_outcome(&app, "failed", 2.0).await;
    let text = metrics(&app).await;
    assert_eq!(metric(&text, "aegis_mails_pending"), Some(1.0));
    assert!(metric(&text, "aegis_mails_oldest_pending_seconds").unwrap() >= 1.0, "{text}");
    app.stopped().await;
    let relay = Relay::start(Encryption::None).await;
    let _app = start(store, &relay).await;
    relay.mail_to("zoe@example.com").await;
}

/// The relay answers 535, a permanent error: but it is not the mail that it refuses.
async fn wrong_password_of_the_relay_loses_no_mail() {
    let store = Store::sqlite();
    let relay = Relay::start(Encryption::StartTls).await;
    let mut wrong = relay.settings();
    let password = Secret::new("not-the-password".to_owned());
    wrong.credentials = Some(SmtpCredentials { user: USER.to_owned(), password });
    let app = TestApp::start_with(store.clone(), |settings| {
        settings.mail.transport = MailTransportSetting::Smtp(wrong);
    })
    .await;
    invite(&app.admin().await, "zoe").await;
    await_outcome(&app, "failed", 2.0).await;
    assert!(outcome(&app, "given_up").await < 0.5);
    assert!(captured_logs().contains("check the user and password in AEGIS_SMTP_URL"));
    app.stopped().await;
    let _app = start(store, &relay).await;
    relay.mail_to("zoe@example.com").await;
}

//! The links in mails, from the request to the login.

use serde_json::json;

use super::relay::{Encryption, Relay, link};
use super::{invite, start};
use crate::support::{PASSWORD, Store, email_of, on_both_stores};

on_both_stores! {
    forgotten_password_is_reset_by_the_link_of_the_mail
    invited_user_sets_a_password_and_verifies_the_address
}

const NEW_PASSWORD: &str = "a much longer way to say it";

fn token(mail: &serde_json::Value, page: &str) -> String {
    let link = link(mail);
    link.strip_prefix(&format!("https://example.org/{page}#token=")).expect("the page").to_owned()
}

async fn forgotten_password_is_reset_by_the_link_of_the_mail(store: Store) {
    let relay = Relay::start(Encryption::StartTls).await;
    let app = start(store, &relay).await;
    let ada = app.sign_up("ada").await;
    let forgot =
        async |email: &str| app.post("/auth/password/forgot").json(&json!({"email": email})).send().await;
    forgot("unknown@example.com").await.expect(202);
    forgot(&ada.email).await.expect(202);
    let mail = relay.mail_to(&ada.email).await;
    let reset = json!({"token": token(&mail, "reset-password"), "new_password": NEW_PASSWORD});
    app.post("/auth/password/reset").json(&reset).send().await.expect(204);
    app.log_in(&ada.email, NEW_PASSWORD).await.expect(200);
    app.log_in(&ada.email, PASSWORD).await.expect(400);
    app.post("/auth/password/reset").json(&reset).send().await.expect(400);
    relay
        .wait_for("the notice of the change", |step| {
            step["step"] == "received" && step["headers"]["subject"] == "Your password for Aegis was changed"
        })
        .await;
    assert_eq!(relay.all_received().len(), 2, "none to an unknown address");
}

async fn invited_user_sets_a_password_and_verifies_the_address(store: Store) {
    let relay = Relay::start(Encryption::None).await;
    let app = start(store, &relay).await;
    let ivy = email_of("ivy");
    invite(&app.admin().await, "ivy").await;
    let mail = relay.mail_to(&ivy).await;
    let accept = json!({"token": token(&mail, "invitation"), "new_password": PASSWORD});
    app.post("/auth/password/reset").json(&accept).send().await.expect(204);
    app.token_of(&ivy).await;

    let eve = app.sign_up("eve").await;
    eve.post("/auth/verify-email/request").send().await.expect(202);
    let token = token(&relay.mail_to(&eve.email).await, "verify-email");
    app.post("/auth/verify-email").json(&json!({"token": token})).send().await.expect(204);
    let me = eve.get("/users/me?fields=all").send().await.expect(200).json();
    assert_eq!(me["email_verified"], true);
}

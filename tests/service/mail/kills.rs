//! The node that sends is killed: another takes over, and repeats at most what was in hand.

use serde_json::json;

use super::relay::{Encryption, Relay};
use crate::support::{
    Client, Deployment, PASSWORD, Store, email_of, eventually, on_one_store, sign_up_request,
};

on_one_store! { mongo:
    another_node_takes_over_from_a_killed_one
}

/// Mails in hand of one node.
const IN_HAND: usize = 4;
const MAILS: usize = 12;

/// The token of an administrator.
pub(super) async fn administrator(deployment: &Deployment, client: &Client) -> String {
    sign_up_request(client, "root").send().await.expect(201);
    deployment.run_ok(&["users", "grant", &email_of("root"), "admin"]).await;
    let answer = client.log_in(&email_of("root"), PASSWORD).await.expect(200).json();
    answer["access_token"].as_str().unwrap().to_owned()
}

pub(super) async fn invite(client: &Client, token: &str, name: &str) {
    let body = json!({"email": email_of(name), "username": name});
    client.post("/users").bearer(token).json(&body).send().await.expect(201);
}

async fn another_node_takes_over_from_a_killed_one() {
    let relay = Relay::start(Encryption::Implicit).await;
    let deployment = Deployment::of(Store::mongo().await)
        .with("AEGIS_SMTP_URL", &relay.url())
        .with("AEGIS_SMTP_CA", relay.ca().unwrap().to_str().unwrap())
        .with("AEGIS_MAIL_FROM", "no-reply@example.org")
        .with("AEGIS_PUBLIC_URL", "https://example.org");
    let (one, two) = (deployment.serve().await, deployment.serve().await);
    let token = administrator(&deployment, one.client()).await;
    invite(one.client(), &token, "first").await;
    relay.mail_to("first@example.com").await;
    let leads = |output: String| {
        output.lines().any(|line| line.contains("this node is the leader") && line.contains("mailer"))
    };
    let (sender, other) = if leads(one.output()) { (one, two) } else { (two, one) };
    assert!(leads(sender.output()) && !leads(other.output()));
    for number in 0..MAILS {
        invite(other.client(), &token, &format!("slow-{number}")).await;
    }
    // Some have been accepted, others are in hand.
    eventually("mails in hand", async || (relay.in_hand() > IN_HAND + 2).then_some(())).await;
    sender.kill();
    eventually("all mails", async || {
        let all = (0..MAILS).all(|number| !relay.received(&email_of(&format!("slow-{number}"))).is_empty());
        all.then_some(())
    })
    .await;
    let mut repeated = 0;
    for number in 0..MAILS {
        let mails = relay.received(&email_of(&format!("slow-{number}")));
        let ids: Vec<_> = mails.iter().map(|mail| &mail["headers"]["message-id"]).collect();
        assert!(ids.len() <= 2 && ids.iter().all(|id| *id == ids[0]), "{ids:?}");
        repeated += mails.len() - 1;
    }
    // Those that the relay had accepted when the node could no longer record it.
    assert!(repeated <= IN_HAND, "{repeated} mails arrived twice");
    assert!(leads(other.output()));
    let output = other.output();
    assert!(!output.contains("relay-pass") && !output.contains("slow-1@"), "secrets or addresses are logged");
}

//! The command line, and a second service, beside a running one.

use std::time::{Duration, Instant};

use reqwest::Method;
use serde_json::json;

use super::{ADMIN_EMAIL, ADMIN_PASSWORD, newcomer, sign_up, token};
use crate::support::{
    Installation, PASSWORD, Store, assert_no_gap, email_of, on_both_stores, on_one_store, until,
};

on_both_stores! {
    a_role_given_on_the_command_line_counts_within_a_second
    the_command_line_does_not_remove_the_last_administrator_either
    what_the_command_line_does_not_know_it_says
}

mod two_services {
    use super::{on_one_store, two_services_share_one_database};

    on_one_store! { mongo: two_services_share_one_database }
}

async fn a_role_given_on_the_command_line_counts_within_a_second(store: Store) {
    let installation = Installation::of(store);
    let service = installation.serve().await;
    let client = service.client();
    let (id, token) = newcomer(client, "ada").await;
    client.get("/events").bearer(&token).send().await.expect(403);
    // Both write at the same time, and neither loses anything.
    let sign_ups = async {
        for number in 0..20 {
            sign_up(client, &format!("user{number}")).await;
        }
    };
    let email = email_of("ada");
    let grant = ["users", "grant", &email, "auditor"];
    tokio::join!(sign_ups, installation.done(&grant));
    let granted = Instant::now();
    until("the role", async || {
        Some(client.get("/events").bearer(&token).send().await).filter(|answer| answer.status() == 200)
    })
    .await;
    assert!(granted.elapsed() < Duration::from_secs(1), "{:?}", granted.elapsed());
    let events = installation.json(&["events", "list"]).await;
    assert_no_gap(&events);
    let role = events.iter().find(|event| event["type"] == "RoleGranted").unwrap();
    assert_eq!(role["subject"], json!(id));
    assert!(role["actor"].as_str().is_some_and(|actor| actor.starts_with("operator:")), "{role}");
    let again = installation.done(&grant).await;
    assert_eq!(installation.json(&["events", "list"]).await.len(), events.len(), "{again:?}");
    let users = installation.json(&["users", "list"]).await;
    let ada = users.iter().find(|user| user["id"] == id.as_str()).unwrap();
    assert_eq!(ada["roles"], json!(["auditor"]));
}

async fn the_command_line_does_not_remove_the_last_administrator_either(store: Store) {
    let installation = Installation::of(store)
        .with("AEGIS_ADMIN_EMAIL", ADMIN_EMAIL)
        .with("AEGIS_ADMIN_PASSWORD", ADMIN_PASSWORD);
    let service = installation.serve().await;
    for attempt in [&["users", "revoke", ADMIN_EMAIL, "admin"][..], &["users", "deactivate", ADMIN_EMAIL]] {
        let refused = installation.run(attempt).await;
        assert_eq!(refused.code, Some(1), "{attempt:?}: {refused:?}");
        assert!(refused.stderr.contains("last administrator"), "{refused:?}");
    }
    newcomer(service.client(), "ada").await;
    installation.done(&["users", "grant", &email_of("ada"), "admin"]).await;
    installation.done(&["users", "revoke", ADMIN_EMAIL, "admin"]).await;
    let refused = installation.run(&["users", "revoke", &email_of("ada"), "admin"]).await;
    assert_eq!(refused.code, Some(1), "{refused:?}");
}

async fn what_the_command_line_does_not_know_it_says(store: Store) {
    let installation = Installation::of(store);
    let _service = installation.serve().await;
    let unknown = installation.run(&["users", "grant", "nobody@example.com", "auditor"]).await;
    assert_eq!(unknown.code, Some(1), "{unknown:?}");
    assert!(!unknown.stderr.is_empty() && !unknown.stderr.contains("panicked"), "{unknown:?}");
    for usage in [
        &["users", "grant", "nobody@example.com", "king"][..],
        &["nonsense"],
        &["events", "replay", "--nonsense"],
    ] {
        let finished = installation.run(usage).await;
        assert_eq!(finished.code, Some(2), "{usage:?}: {finished:?}");
    }
    let help = installation.done(&["--help"]).await;
    for word in ["serve", "events", "projections", "users"] {
        assert!(help.stdout.contains(word), "{}", help.stdout);
    }
}

async fn two_services_share_one_database() {
    let installation = Installation::of(Store::mongo().await);
    let (mut first, second) = tokio::join!(installation.serve(), installation.serve());
    for number in 0..20 {
        let name = format!("user{number}");
        let (here, there) = if number % 2 == 0 { (&first, &second) } else { (&second, &first) };
        let (_, issued) = newcomer(here.client(), &name).await;
        there.client().me(&issued).await.expect(200);
        token(there.client(), &email_of(&name), PASSWORD).await;
        let twin = there.client().post("/auth/signup").json(&crate::support::credentials(&name)).send().await;
        assert_eq!(twin.code(400), "email_taken");
    }
    // One leaves; the other goes on projecting.
    assert!(first.terminate().await.success());
    let (_, issued) = newcomer(second.client(), "survivor").await;
    second.client().request(Method::GET, "/users/me").bearer(&issued).send().await.expect(200);
    assert_no_gap(&installation.json(&["events", "list"]).await);
}

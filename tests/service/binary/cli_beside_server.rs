//! The command line and a second service beside a running service.

use std::time::{Duration, Instant};

use reqwest::Method;
use serde_json::json;

use super::{ADMIN_EMAIL, ADMIN_PASSWORD, new_user, sign_up, token};
use crate::support::{
    Deployment, PASSWORD, Store, assert_no_gap, email_of, eventually, on_both_stores, on_one_store,
};

on_both_stores! {
    role_granted_by_cli_takes_effect_within_a_second
    cli_cannot_remove_the_last_administrator
    cli_rejects_unknown_users_and_arguments
}

mod two_services {
    use super::{on_one_store, two_services_share_one_database};

    on_one_store! { mongo: two_services_share_one_database }
}

async fn role_granted_by_cli_takes_effect_within_a_second(store: Store) {
    let deployment = Deployment::of(store).with("USER", "mallory").with("LOGNAME", "mallory");
    let service = deployment.serve().await;
    let client = service.client();
    let (id, token) = new_user(client, "ada").await;
    client.get("/events").bearer(&token).send().await.expect(403);
    // Concurrent writes of both are all stored.
    let sign_ups = async {
        for number in 0..20 {
            sign_up(client, &format!("user{number}")).await;
        }
    };
    let email = email_of("ada");
    let grant = ["users", "grant", &email, "auditor"];
    tokio::join!(sign_ups, deployment.run_ok(&grant));
    let granted = Instant::now();
    eventually("the role", async || {
        Some(client.get("/events").bearer(&token).send().await).filter(|answer| answer.status() == 200)
    })
    .await;
    assert!(granted.elapsed() < Duration::from_secs(1), "{:?}", granted.elapsed());
    let events = deployment.json(&["events", "list"]).await;
    assert_no_gap(&events);
    let role = events.iter().find(|event| event["type"] == "RoleGranted").unwrap();
    assert_eq!(role["subject"], json!(id));
    let actor = role["actor"].as_str().unwrap();
    assert!(actor.starts_with("operator:") && actor != "operator:mallory", "{role}");
    let again = deployment.run_ok(&grant).await;
    assert_eq!(deployment.json(&["events", "list"]).await.len(), events.len(), "{again:?}");
    let users = deployment.json(&["users", "list"]).await;
    let ada = users.iter().find(|user| user["id"] == id.as_str()).unwrap();
    assert_eq!(ada["roles"], json!(["auditor"]));
}

async fn cli_cannot_remove_the_last_administrator(store: Store) {
    let deployment = Deployment::of(store)
        .with("AEGIS_ADMIN_EMAIL", ADMIN_EMAIL)
        .with("AEGIS_ADMIN_PASSWORD", ADMIN_PASSWORD);
    let service = deployment.serve().await;
    for attempt in [&["users", "revoke", ADMIN_EMAIL, "admin"][..], &["users", "deactivate", ADMIN_EMAIL]] {
        let refused = deployment.run(attempt).await;
        assert_eq!(refused.code, Some(1), "{attempt:?}: {refused:?}");
        assert!(refused.stderr.contains("last administrator"), "{refused:?}");
    }
    new_user(service.client(), "ada").await;
    deployment.run_ok(&["users", "grant", &email_of("ada"), "admin"]).await;
    deployment.run_ok(&["users", "revoke", ADMIN_EMAIL, "admin"]).await;
    let refused = deployment.run(&["users", "revoke", &email_of("ada"), "admin"]).await;
    assert_eq!(refused.code, Some(1), "{refused:?}");
}

async fn cli_rejects_unknown_users_and_arguments(store: Store) {
    let deployment = Deployment::of(store);
    let _service = deployment.serve().await;
    let unknown = deployment.run(&["users", "grant", "unknown@example.com", "auditor"]).await;
    assert_eq!(unknown.code, Some(1), "{unknown:?}");
    assert!(!unknown.stderr.is_empty() && !unknown.stderr.contains("panicked"), "{unknown:?}");
    for usage in [
        &["users", "grant", "unknown@example.com", "king"][..],
        &["nonsense"],
        &["events", "replay", "--nonsense"],
    ] {
        let finished = deployment.run(usage).await;
        assert_eq!(finished.code, Some(2), "{usage:?}: {finished:?}");
    }
    let help = deployment.run_ok(&["--help"]).await;
    for word in ["serve", "events", "projections", "users"] {
        assert!(help.stdout.contains(word), "{}", help.stdout);
    }
}

async fn two_services_share_one_database() {
    let deployment = Deployment::of(Store::mongo().await);
    let (mut first, second) = tokio::join!(deployment.serve(), deployment.serve());
    for number in 0..20 {
        let name = format!("user{number}");
        let (here, there) = if number % 2 == 0 { (&first, &second) } else { (&second, &first) };
        let (_, issued) = new_user(here.client(), &name).await;
        there.client().me(&issued).await.expect(200);
        token(there.client(), &email_of(&name), PASSWORD).await;
        let twin = there.client().post("/auth/signup").json(&crate::support::credentials(&name)).send().await;
        assert_eq!(twin.code(400), "email_taken");
    }
    // One stops; the other continues to project.
    assert!(first.terminate().await.success());
    let (_, issued) = new_user(second.client(), "survivor").await;
    second.client().request(Method::GET, "/users/me").bearer(&issued).send().await.expect(200);
    assert_no_gap(&deployment.json(&["events", "list"]).await);
}

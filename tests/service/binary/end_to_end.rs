//! From the first start to a rebuilt read model.

use std::process::Command;

use reqwest::Method;
use serde_json::{Value, json};

use super::{ADMIN_EMAIL, ADMIN_PASSWORD, new_user, token};
use crate::support::{
    Client, Deployment, PASSWORD, Store, assert_no_gap, email_of, eventually, on_both_stores,
};

on_both_stores! {
    commands_printed_at_first_start_work
    deactivation_and_reactivation_are_recorded_in_the_log
    first_administrator_is_created_once
}

/// The `curl` commands that a service has printed. Later ones build on earlier ones.
fn commands(output: &str) -> Vec<&str> {
    output.lines().filter(|line| line.contains("curl ")).collect()
}

async fn commands_printed_at_first_start_work(store: Store) {
    let deployment = Deployment::of(store);
    let mut service = deployment.serve().await;
    let script = eventually("the printed commands", async || {
        let output = service.output();
        let commands = commands(&output);
        (commands.len() == 3).then(|| commands.join("\n"))
    })
    .await;
    // Ignore proxy settings of the machine.
    let script = format!("unset http_proxy all_proxy ALL_PROXY\n{script}");
    let shell = move || Command::new("sh").args(["-ec", &script]).output().unwrap();
    let output = tokio::task::spawn_blocking(shell).await.unwrap();
    assert!(output.status.success(), "{output:?}");
    let printed = serde_json::Deserializer::from_slice(&output.stdout).into_iter::<Value>();
    let printed: Vec<Value> = printed.map(Result::unwrap).collect();
    assert_eq!(printed.len(), 2, "the sign-up and the look at oneself: {printed:?}");
    assert!(printed[0]["id"].is_string() && printed[0] == printed[1], "{printed:?}");
    assert!(service.terminate().await.success());
    // The commands are printed at the first start only.
    let again = deployment.serve().await;
    new_user(again.client(), "bob").await;
    assert_eq!(commands(&again.output()), [""; 0]);
}

async fn assert_deactivated(client: &Client, token: &str) {
    let refused = client.log_in(&email_of("ada"), PASSWORD).await;
    assert_eq!(refused.error_body(400)["detail"], "Inactive user");
    assert_eq!(client.me(token).await.code(403), "inactive_user");
}

async fn assert_reactivated(client: &Client, old: &str) {
    let fresh = token(client, &email_of("ada"), PASSWORD).await;
    client.me(&fresh).await.expect(200);
    assert_eq!(client.me(old).await.code(403), "token_revoked");
}

/// The line for one user in `users list` or `events replay`.
#[track_caller]
fn of_user<'a>(lines: &'a [Value], id: &str) -> &'a Value {
    lines.iter().find(|line| line["id"] == id).unwrap_or_else(|| panic!("{id} is not among {lines:?}"))
}

async fn deactivation_and_reactivation_are_recorded_in_the_log(store: Store) {
    let deployment = Deployment::of(store)
        .with("AEGIS_ADMIN_EMAIL", ADMIN_EMAIL)
        .with("AEGIS_ADMIN_PASSWORD", ADMIN_PASSWORD);
    let mut service = deployment.serve().await;
    let client = service.client().clone();
    let (id, old) = new_user(&client, "ada").await;
    assert_eq!(client.me(&old).await.expect(200).json()["id"], id.as_str());
    let admin = token(&client, ADMIN_EMAIL, ADMIN_PASSWORD).await;
    let path = format!("/users/{id}/deactivate");
    client.post(&path).bearer(&admin).json(&json!({"reason": "asked for it"})).send().await.expect(200);
    assert_deactivated(&client, &old).await;
    // The same after a restart: nothing was held in memory only.
    assert!(service.terminate().await.success());
    service = deployment.serve().await;
    let client = service.client().clone();
    assert_deactivated(&client, &old).await;
    let path = format!("/users/{id}/reactivate");
    client.post(&path).bearer(&admin).json(&json!({"reason": "welcome back"})).send().await.expect(200);
    assert_reactivated(&client, &old).await;
    assert!(service.terminate().await.success());
    let service = deployment.serve().await;
    assert_reactivated(service.client(), &old).await;

    let replayed = deployment.json(&["events", "replay"]).await;
    let ada = of_user(&replayed, &id);
    assert_eq!((&ada["email"], &ada["username"]), (&json!("ada@example.com"), &json!("ada")));
    assert_eq!((&ada["is_active"], &ada["roles"], &ada["version"]), (&json!(true), &json!([]), &json!(3)));
    assert!(ada["created_at"].as_str().is_some_and(|at| at.ends_with('Z')), "{ada}");
    assert_eq!(deployment.json(&["events", "replay", "--user", &id]).await, std::slice::from_ref(ada));
    let events = deployment.json(&["events", "list"]).await;
    assert_no_gap(&events);
    let deactivated = events.iter().find(|event| event["type"] == "UserDeactivated").unwrap();
    let then = deactivated["position"].to_string();
    let then = deployment.json(&["events", "replay", "--until", &then]).await;
    assert_eq!(of_user(&then, &id)["is_active"], json!(false));

    let before = deployment.json(&["users", "list"]).await;
    deployment.run_ok(&["projections", "rebuild", "users"]).await;
    assert_eq!(deployment.json(&["users", "list"]).await, before);
    assert_reactivated(service.client(), &old).await;
}

async fn first_administrator_is_created_once(store: Store) {
    let deployment = Deployment::of(store)
        .with("AEGIS_ADMIN_EMAIL", ADMIN_EMAIL)
        .with("AEGIS_ADMIN_PASSWORD", ADMIN_PASSWORD);
    for _ in 0..3 {
        let mut service = deployment.serve().await;
        let admin = token(service.client(), ADMIN_EMAIL, ADMIN_PASSWORD).await;
        service.client().request(Method::GET, "/events").bearer(&admin).send().await.expect(200);
        assert!(!service.output().contains(ADMIN_PASSWORD), "the password is shown");
        assert!(service.terminate().await.success());
    }
    let users = deployment.json(&["users", "list"]).await;
    assert_eq!(users.len(), 1, "{users:?}");
    assert_eq!(users[0]["roles"], json!(["admin"]));
}

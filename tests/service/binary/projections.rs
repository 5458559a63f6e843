//! `aegis projections`: versions of read models, with and without a running service.

use serde_json::{Value, json};

use super::{new_user, sign_up};
use crate::support::{Deployment, Store, on_both_stores};

on_both_stores! {
    projection_versions_are_rebuilt_and_rolled_back_without_a_service
    projection_versions_are_rebuilt_and_rolled_back_beside_a_service
    projections_verify_names_a_tampered_row
    invalid_projection_commands_are_rejected_with_a_reason
    lease_of_a_killed_service_is_taken_over_at_once
}

/// `users` as `status` shows it.
async fn users(deployment: &Deployment) -> Value {
    let shown = deployment.json(&["projections", "status"]).await;
    shown.into_iter().find(|one| one["name"] == "users").unwrap()
}

fn numbers(status: &Value) -> Vec<u64> {
    let versions = status["versions"].as_array().unwrap().iter();
    versions.map(|version| version["version"].as_u64().unwrap()).collect()
}

async fn verify(deployment: &Deployment, rows: u64) {
    for name in ["users", "daily", "webhooks"] {
        let verified = deployment.json(&["projections", "verify", name]).await.remove(0);
        assert!(verified["digest"].as_str().is_some_and(|digest| !digest.is_empty()), "{verified}");
        if name.starts_with("user") {
            assert_eq!(verified["rows"], rows, "{verified}");
        }
    }
}

async fn rebuild_and_roll_back(deployment: &Deployment, rows: u64) {
    let rebuilt = deployment.run_ok(&["projections", "rebuild", "users"]).await.stdout;
    assert!(rebuilt.contains("users: version 2 is live") && rebuilt.contains("same as before"), "{rebuilt}");
    let status = users(deployment).await;
    assert_eq!((&status["live"], numbers(&status)), (&json!(2), vec![1, 2]));
    assert_eq!(status["versions"][1]["state"], "current", "{status}");
    verify(deployment, rows).await;
    deployment.run_ok(&["projections", "verify", "users", "--version", "1"]).await;
    let back = deployment.run_ok(&["projections", "rollback", "users"]).await.stdout;
    assert!(back.contains("users: version 1 is live"), "{back}");
    deployment.run_ok(&["projections", "rollback", "users", "--to", "2"]).await;
    let dropped = deployment.run_ok(&["projections", "drop", "users", "1"]).await.stdout;
    assert!(dropped.contains("version 1 of users is dropped: 2 is live"), "{dropped}");
    assert_eq!(numbers(&users(deployment).await), [2]);
    let table = deployment.run_ok(&["projections", "status"]).await.stdout;
    for word in ["NAME", "VERSION", "users", "daily", "webhooks", "live", "current"] {
        assert!(table.contains(word), "{table}");
    }
}

async fn projection_versions_are_rebuilt_and_rolled_back_without_a_service(store: Store) {
    let deployment = Deployment::of(store);
    let mut service = deployment.serve().await;
    for number in 0..5 {
        sign_up(service.client(), &format!("user{number}")).await;
    }
    assert!(service.terminate().await.success());
    rebuild_and_roll_back(&deployment, 5).await;
    // A restarted service has all rows.
    let service = deployment.serve().await;
    new_user(service.client(), "late").await;
    verify(&deployment, 6).await;
}

async fn projection_versions_are_rebuilt_and_rolled_back_beside_a_service(store: Store) {
    let deployment = Deployment::of(store);
    let service = deployment.serve().await;
    let (_, token) = new_user(service.client(), "ada").await;
    rebuild_and_roll_back(&deployment, 1).await;
    service.client().me(&token).await.expect(200);
    let (_, token) = new_user(service.client(), "bob").await;
    service.client().me(&token).await.expect(200);
}

async fn projections_verify_names_a_tampered_row(store: Store) {
    let deployment = Deployment::of(store);
    let mut service = deployment.serve().await;
    sign_up(service.client(), "ada").await;
    let bob = sign_up(service.client(), "bob").await;
    assert!(service.terminate().await.success());
    verify(&deployment, 2).await;
    deployment.store().rename_by_hand("users_1", "bob@example.com", "mallory").await;
    let found = deployment.run(&["projections", "verify", "users"]).await;
    assert_eq!(found.code, Some(3), "{found:?}");
    assert!(found.stderr.contains(&bob) && found.stderr.contains("[row_tampered]"), "{found:?}");
    for personal in ["mallory", "bob@example.com"] {
        assert!(!found.stderr.contains(personal), "{found:?}");
    }
    // A rebuild repairs the row and reports how the previous version differed.
    let rebuilt = deployment.run_ok(&["projections", "rebuild", "users"]).await;
    verify(&deployment, 2).await;
    assert!(rebuilt.stdout.contains("users: version 2 is live"), "{rebuilt:?}");
}

async fn invalid_projection_commands_are_rejected_with_a_reason(store: Store) {
    let deployment = Deployment::of(store);
    let mut service = deployment.serve().await;
    sign_up(service.client(), "ada").await;
    assert!(service.terminate().await.success());
    for (arguments, message) in [
        (&["cancel", "users"][..], "no version is being built"),
        (&["rollback", "users"], "no version before the live one"),
        (&["rollback", "users", "--to", "7"], "no version 7"),
        (&["drop", "users", "1"], "is the one that is read"),
        (&["verify", "users", "--version", "7"], "no version 7"),
        (&["skip", "users", "--position", "1", "--reason", "x"], "nothing to skip"),
        (&["skip", "users", "--position", "99", "--reason", "x"], "no event at position 99"),
    ] {
        let refused = deployment.run(&[&["projections"], arguments].concat()).await;
        assert_eq!(refused.code, Some(1), "{arguments:?}: {refused:?}");
        assert!(refused.stderr.contains(message), "{arguments:?}: {refused:?}");
    }
    for arguments in [&["rebuild", "nothing"][..], &["drop", "users"], &["skip", "users", "--position", "0"]]
    {
        let refused = deployment.run(&[&["projections"], arguments].concat()).await;
        assert_eq!(refused.code, Some(2), "{arguments:?}: {refused:?}");
    }
}

/// After a crash the next service takes over the projectors at once.
async fn lease_of_a_killed_service_is_taken_over_at_once(store: Store) {
    let deployment = Deployment::of(store);
    for number in 0..3 {
        let service = deployment.serve().await;
        let (_, token) = new_user(service.client(), &format!("user{number}")).await;
        service.client().me(&token).await.expect(200);
        service.kill();
    }
    verify(&deployment, 3).await;
}

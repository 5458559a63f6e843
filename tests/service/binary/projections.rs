//! `aegis projections`: the versions of read models, with and without a service beside.

use serde_json::{Value, json};

use super::{newcomer, sign_up};
use crate::support::{Installation, Store, on_both_stores};

on_both_stores! {
    versions_come_and_go_without_a_service
    versions_come_and_go_beside_a_service
    a_row_that_was_edited_by_hand_is_named_with_its_field
    what_makes_no_sense_is_refused_with_a_word_on_why
    a_service_that_was_killed_leaves_no_lease_behind
}

/// `users` as `status` shows it.
async fn users(installation: &Installation) -> Value {
    let shown = installation.json(&["projections", "status"]).await;
    shown.into_iter().find(|one| one["name"] == "users").unwrap()
}

fn numbers(status: &Value) -> Vec<u64> {
    let versions = status["versions"].as_array().unwrap().iter();
    versions.map(|version| version["version"].as_u64().unwrap()).collect()
}

async fn verify(installation: &Installation, rows: u64) {
    for name in ["users", "user_activity", "daily", "webhooks"] {
        let verified = installation.json(&["projections", "verify", name]).await.remove(0);
        assert!(verified["digest"].as_str().is_some_and(|digest| !digest.is_empty()), "{verified}");
        if name.starts_with("user") {
            assert_eq!(verified["rows"], rows, "{verified}");
        }
    }
}

async fn come_and_go(installation: &Installation, rows: u64) {
    let rebuilt = installation.done(&["projections", "rebuild", "users"]).await.stdout;
    assert!(
        rebuilt.contains("users is read from version 2 now") && rebuilt.contains("same as before"),
        "{rebuilt}"
    );
    let status = users(installation).await;
    assert_eq!((&status["live"], numbers(&status)), (&json!(2), vec![1, 2]));
    assert_eq!(status["versions"][1]["state"], "current", "{status}");
    verify(installation, rows).await;
    installation.done(&["projections", "verify", "users", "--version", "1"]).await;
    let back = installation.done(&["projections", "rollback", "users"]).await.stdout;
    assert!(back.contains("users is read from version 1 now"), "{back}");
    installation.done(&["projections", "rollback", "users", "--to", "2"]).await;
    let dropped = installation.done(&["projections", "drop", "users", "1"]).await.stdout;
    assert!(dropped.contains("version 1 of users is dropped: 2 is live"), "{dropped}");
    assert_eq!(numbers(&users(installation).await), [2]);
    let table = installation.done(&["projections", "status"]).await.stdout;
    for word in ["NAME", "VERSION", "users", "user_activity", "daily", "webhooks", "live", "current"] {
        assert!(table.contains(word), "{table}");
    }
}

async fn versions_come_and_go_without_a_service(store: Store) {
    let installation = Installation::of(store);
    let mut service = installation.serve().await;
    for number in 0..5 {
        sign_up(service.client(), &format!("user{number}")).await;
    }
    assert!(service.terminate().await.success());
    come_and_go(&installation, 5).await;
    // Who comes back finds everybody.
    let service = installation.serve().await;
    newcomer(service.client(), "late").await;
    verify(&installation, 6).await;
}

async fn versions_come_and_go_beside_a_service(store: Store) {
    let installation = Installation::of(store);
    let service = installation.serve().await;
    let (_, token) = newcomer(service.client(), "ada").await;
    come_and_go(&installation, 1).await;
    service.client().me(&token).await.expect(200);
    let (_, token) = newcomer(service.client(), "bob").await;
    service.client().me(&token).await.expect(200);
}

async fn a_row_that_was_edited_by_hand_is_named_with_its_field(store: Store) {
    let installation = Installation::of(store);
    let mut service = installation.serve().await;
    sign_up(service.client(), "ada").await;
    let bob = sign_up(service.client(), "bob").await;
    assert!(service.terminate().await.success());
    verify(&installation, 2).await;
    installation.store().rename_by_hand("users_1", "bob@example.com", "mallory").await;
    let found = installation.run(&["projections", "verify", "users"]).await;
    assert_eq!(found.code, Some(3), "{found:?}");
    assert!(found.stderr.contains(&bob) && found.stderr.contains("`username`"), "{found:?}");
    for personal in ["mallory", "bob@example.com"] {
        assert!(!found.stderr.contains(personal), "{found:?}");
    }
    // It can be put right, and what was wrong with the rows of before is said.
    let rebuilt = installation.done(&["projections", "rebuild", "users"]).await;
    verify(&installation, 2).await;
    assert!(rebuilt.stdout.contains("users is read from version 2 now"), "{rebuilt:?}");
}

async fn what_makes_no_sense_is_refused_with_a_word_on_why(store: Store) {
    let installation = Installation::of(store);
    let mut service = installation.serve().await;
    sign_up(service.client(), "ada").await;
    assert!(service.terminate().await.success());
    for (arguments, said) in [
        (&["cancel", "users"][..], "no version is being built"),
        (&["rollback", "users"], "no version before the live one"),
        (&["rollback", "users", "--to", "7"], "no version 7"),
        (&["drop", "users", "1"], "is the one that is read"),
        (&["verify", "users", "--version", "7"], "no version 7"),
        (&["skip", "users", "--position", "1", "--reason", "x"], "nothing to skip"),
        (&["skip", "users", "--position", "99", "--reason", "x"], "no event at position 99"),
    ] {
        let refused = installation.run(&[&["projections"], arguments].concat()).await;
        assert_eq!(refused.code, Some(1), "{arguments:?}: {refused:?}");
        assert!(refused.stderr.contains(said), "{arguments:?}: {refused:?}");
    }
    for arguments in [&["rebuild", "nothing"][..], &["drop", "users"], &["skip", "users", "--position", "0"]]
    {
        let refused = installation.run(&[&["projections"], arguments].concat()).await;
        assert_eq!(refused.code, Some(2), "{arguments:?}: {refused:?}");
    }
}

/// Whoever comes after a crash finds the rows kept at once.
async fn a_service_that_was_killed_leaves_no_lease_behind(store: Store) {
    let installation = Installation::of(store);
    for number in 0..3 {
        let service = installation.serve().await;
        let (_, token) = newcomer(service.client(), &format!("user{number}")).await;
        service.client().me(&token).await.expect(200);
        service.kill();
    }
    verify(&installation, 3).await;
}

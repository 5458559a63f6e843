//! Tampering with the database directly: `aegis events verify` detects every attack and names the position,
//! on both databases.

mod attacks;
mod fields;
mod raw_database;
mod rewriting;
mod unreadable_values;

use std::time::Duration;

use self::attacks::Attack;
pub(super) use self::raw_database::RawDatabase;
use self::unreadable_values::UNREADABLE_VALUES;
use super::sign_up;
use crate::support::{Deployment, Store, credentials, email_of, on_both_stores};

on_both_stores! {
    changed_field_is_located
    changed_field_with_recomputed_leaf_is_located
    inserted_removed_and_reordered_events_are_located
    changed_head_and_rewritten_tail_are_located
    changed_claims_and_keys_are_located
    unreadable_values_are_located
    service_survives_a_tampered_database
}

/// A deployment whose log has the six events described in [`attacks`].
async fn six_events(store: Store) -> Deployment {
    let deployment = Deployment::of(store);
    let service = deployment.serve().await;
    for number in [1, 2, 3, 4, 6] {
        if number == 6 {
            let email = email_of("user2");
            deployment.run_ok(&["users", "deactivate", &email, "--reason", "moved away"]).await;
        }
        sign_up(service.client(), &format!("user{number}")).await;
        // Times have millisecond resolution, and each event needs its own.
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
    service.kill();
    deployment
}

async fn changed_field_is_located(store: Store) {
    assert_all_detected(&six_events(store).await, fields::FIELD_ATTACKS, |_| {}).await;
}

async fn changed_field_with_recomputed_leaf_is_located(store: Store) {
    assert_all_detected(
        &six_events(store).await,
        fields::FIELD_ATTACKS_WITH_RECOMPUTED_LEAF,
        RawDatabase::recompute_leaves,
    )
    .await;
}

async fn inserted_removed_and_reordered_events_are_located(store: Store) {
    assert_all_detected(&six_events(store).await, attacks::EVENT_ATTACKS, |_| {}).await;
}

async fn changed_head_and_rewritten_tail_are_located(store: Store) {
    assert_all_detected(&six_events(store).await, attacks::HEAD_ATTACKS, |_| {}).await;
}

async fn changed_claims_and_keys_are_located(store: Store) {
    assert_all_detected(&six_events(store).await, attacks::KEY_STORE_ATTACKS, |_| {}).await;
}

async fn unreadable_values_are_located(store: Store) {
    let deployment = six_events(store).await;
    let original = RawDatabase::read(deployment.store()).await;
    for value in UNREADABLE_VALUES {
        value.on(deployment.store()).await;
        let finding = assert_detected(&deployment, value.what, value.position, value.code).await;
        assert!(finding.contains(value.names), "{}: {finding}", value.what);
        original.write(deployment.store()).await;
    }
}

/// Applies each attack and `then` to the original log, and asserts that it is detected.
async fn assert_all_detected<const COUNT: usize>(
    deployment: &Deployment,
    attacks: [Attack; COUNT],
    then: fn(&mut RawDatabase),
) {
    let original = RawDatabase::read(deployment.store()).await;
    for attack in attacks {
        let mut log = original.clone();
        (attack.change)(&mut log);
        then(&mut log);
        log.write(deployment.store()).await;
        assert_detected(deployment, attack.what, attack.position, attack.code).await;
    }
    // Writing the original log back verifies: the findings were caused by the attacks only.
    original.write(deployment.store()).await;
    deployment.run_ok(&["events", "verify"]).await;
}

/// Verification fails with that code; gives the message.
async fn assert_detected(deployment: &Deployment, what: &str, position: u64, code: &str) -> String {
    let found = deployment.run(&["events", "verify"]).await;
    assert_eq!(found.code, Some(3), "{what}: {found:?}");
    let named = format!("the log does not verify: position {position}: ");
    let finding = found.stderr.split_once(&named).unwrap_or_else(|| panic!("{what}: {}", found.stderr)).1;
    assert!(finding.trim_end().ends_with(&format!("[{code}]")), "{what}: {}", found.stderr);
    finding.to_owned()
}

/// The service may reject requests, but must not crash.
async fn service_survives_a_tampered_database(store: Store) {
    let deployment = six_events(store).await;
    let original = RawDatabase::read(deployment.store()).await;
    let [leaf, data, head, ..] = UNREADABLE_VALUES;
    for value in [leaf, data, head] {
        value.on(deployment.store()).await;
        assert_survives(&deployment, value.what).await;
        original.write(deployment.store()).await;
    }
    for what in [
        "event removed",
        "last event removed",
        "event inserted at the end",
        "events moved to an unknown stream",
    ] {
        let attack = attacks::EVENT_ATTACKS.into_iter().find(|attack| attack.what == what).unwrap();
        let mut log = original.clone();
        (attack.change)(&mut log);
        log.write(deployment.store()).await;
        assert_survives(&deployment, what).await;
        original.write(deployment.store()).await;
    }
}

async fn assert_survives(deployment: &Deployment, what: &str) {
    let mut service = deployment.serve_listening().await;
    for _ in 0..2 {
        let answer = service.client().post("/auth/signup").json(&credentials("late")).send().await;
        assert!(answer.status() == 201 || answer.status() >= 400, "{what}: {}", answer.status());
    }
    for command in ["status", "verify users", "rebuild users"] {
        let arguments: Vec<_> = ["projections"].into_iter().chain(command.split(' ')).collect();
        let ended = deployment.run(&arguments).await;
        assert!(matches!(ended.code, Some(0..=3)), "{what}: {command}: {ended:?}");
        assert!(!ended.stderr.contains("panicked"), "{what}: {command}: {ended:?}");
    }
    service.assert_running();
    assert!(service.terminate().await.success(), "{what}: {}", service.output());
    assert!(!service.output().contains("panicked"), "{what}: {}", service.output());
}

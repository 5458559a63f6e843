//! Tampering with the database, past the service: `aegis events verify` finds each kind and names the position, the same
//! on either store.

mod damage;
mod fields;
mod kinds;
mod record;
mod rewriting;

use std::time::Duration;

use self::damage::DAMAGES;
use self::kinds::Kind;
pub(super) use self::record::Record;
use super::sign_up;
use crate::support::{Installation, Store, credentials, email_of, on_both_stores};

on_both_stores! {
    a_changed_field_is_found_and_where
    a_changed_field_whose_leaf_was_made_to_fit_is_found
    events_that_come_and_go_and_change_places_are_found_and_where
    a_changed_head_and_a_rewritten_tail_are_found
    changed_claims_and_keys_are_found_and_where
    what_is_no_longer_what_it_should_be_is_found_and_where
    a_service_lives_with_whatever_was_tampered_with
}

/// An installation whose log has the six events that [`kinds`] speaks of.
async fn six_events(store: Store) -> Installation {
    let installation = Installation::of(store);
    let service = installation.serve().await;
    for number in [1, 2, 3, 4, 6] {
        if number == 6 {
            let email = email_of("user2");
            installation.done(&["users", "deactivate", &email, "--reason", "moved away"]).await;
        }
        sign_up(service.client(), &format!("user{number}")).await;
        // Each has a time of its own, which is in milliseconds.
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
    service.kill();
    installation
}

async fn a_changed_field_is_found_and_where(store: Store) {
    each_is_found(&six_events(store).await, fields::WITH_THE_OLD_LEAF, |_| {}).await;
}

async fn a_changed_field_whose_leaf_was_made_to_fit_is_found(store: Store) {
    each_is_found(&six_events(store).await, fields::WITH_A_LEAF_THAT_FITS, Record::make_leaves).await;
}

async fn events_that_come_and_go_and_change_places_are_found_and_where(store: Store) {
    each_is_found(&six_events(store).await, kinds::OF_PLACES, |_| {}).await;
}

async fn a_changed_head_and_a_rewritten_tail_are_found(store: Store) {
    each_is_found(&six_events(store).await, kinds::OF_THE_HEAD, |_| {}).await;
}

async fn changed_claims_and_keys_are_found_and_where(store: Store) {
    each_is_found(&six_events(store).await, kinds::OF_THE_VAULT, |_| {}).await;
}

async fn what_is_no_longer_what_it_should_be_is_found_and_where(store: Store) {
    let installation = six_events(store).await;
    let honest = Record::read(installation.store()).await;
    for damage in DAMAGES {
        damage.on(installation.store()).await;
        is_found(&installation, damage.what, damage.position, damage.said).await;
        honest.write(installation.store()).await;
    }
}

/// Each of them done to the same log, and `then` what makes it look right; in between it is put right.
async fn each_is_found<const COUNT: usize>(
    installation: &Installation,
    kinds: [Kind; COUNT],
    then: fn(&mut Record),
) {
    let honest = Record::read(installation.store()).await;
    for kind in kinds {
        let mut log = honest.clone();
        (kind.change)(&mut log);
        then(&mut log);
        log.write(installation.store()).await;
        is_found(installation, kind.what, kind.position, kind.said).await;
    }
    // What was found each time was the tampering, and not how it was done.
    honest.write(installation.store()).await;
    installation.done(&["events", "verify"]).await;
}

async fn is_found(installation: &Installation, what: &str, position: u64, said: &str) {
    let found = installation.run(&["events", "verify"]).await;
    assert_eq!(found.code, Some(3), "{what}: {found:?}");
    let named = format!("the log does not verify: position {position}: ");
    let told = found.stderr.split_once(&named).unwrap_or_else(|| panic!("{what}: {}", found.stderr)).1;
    assert!(told.contains(said), "{what}: {}", found.stderr);
}

/// It may refuse to do things, and say so; it must not fall over.
async fn a_service_lives_with_whatever_was_tampered_with(store: Store) {
    let installation = six_events(store).await;
    let honest = Record::read(installation.store()).await;
    let [leaf, data, head, ..] = DAMAGES;
    for damage in [leaf, data, head] {
        damage.on(installation.store()).await;
        lives(&installation, damage.what).await;
        honest.write(installation.store()).await;
    }
    for what in ["removed", "the last one removed", "inserted at the end", "reassigned to nobody"] {
        let kind = kinds::OF_PLACES.into_iter().find(|kind| kind.what == what).unwrap();
        let mut log = honest.clone();
        (kind.change)(&mut log);
        log.write(installation.store()).await;
        lives(&installation, what).await;
        honest.write(installation.store()).await;
    }
}

async fn lives(installation: &Installation, what: &str) {
    let mut service = installation.serve_unready().await;
    for _ in 0..2 {
        let answer = service.client().post("/auth/signup").json(&credentials("late")).send().await;
        assert!(answer.status() == 201 || answer.status() >= 400, "{what}: {}", answer.status());
    }
    for command in ["status", "verify users", "rebuild users"] {
        let arguments: Vec<_> = ["projections"].into_iter().chain(command.split(' ')).collect();
        let ended = installation.run(&arguments).await;
        assert!(matches!(ended.code, Some(0..=3)), "{what}: {command}: {ended:?}");
        assert!(!ended.stderr.contains("panicked"), "{what}: {command}: {ended:?}");
    }
    service.assert_running();
    assert!(service.terminate().await.success(), "{what}: {}", service.said());
    assert!(!service.said().contains("panicked"), "{what}: {}", service.said());
}

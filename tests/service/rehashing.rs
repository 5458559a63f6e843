//! Costs of password hashes: a login replaces a hash with old costs, and the hash that is computed for an
//! unknown account has the costs of one that exists.

use std::collections::BTreeMap;

use aegis::config::Settings;
use domain::{EmailAddress, PasswordHash, UserCommand, Username};
use store::{EventQuery, StoredEvent};

use crate::support::{
    LEGACY_PASSWORD, LEGACY_PASSWORD_HASH, PASSWORD, Store, TestApp, email_of, eventually, metrics,
    on_both_stores, sign_up_request,
};

on_both_stores! {
    login_replaces_a_hash_with_old_costs_once
    hash_of_the_legacy_service_is_replaced
    unknown_accounts_have_the_costs_of_known_ones
}

fn costlier(settings: &mut Settings) {
    settings.passwords.memory_kib = 128;
}

async fn rehashed(app: &TestApp) -> Vec<StoredEvent> {
    let types = vec!["PasswordRehashed".to_owned()];
    app.services().store.read(&EventQuery { types, limit: 100, ..EventQuery::default() }).await.unwrap()
}

/// How many hashes this process has computed with each memory cost.
async fn computed(app: &TestApp) -> BTreeMap<u64, u64> {
    let text = metrics(app).await;
    let lines = text.lines().filter_map(|line| {
        let (costs, count) =
            line.strip_prefix("aegis_password_hashes_total{costs=\"m=")?.split_once("\"}")?;
        Some((costs.split(',').next()?.parse().unwrap(), count.trim().parse().unwrap()))
    });
    lines.collect()
}

async fn login_replaces_a_hash_with_old_costs_once(store: Store) {
    let old = TestApp::start(store).await;
    let ada = old.sign_up("ada").await;
    old.log_in(&ada.email, PASSWORD).await.expect(200);
    assert_eq!(rehashed(&old).await.len(), 0, "the costs are current");
    let store = old.store().clone();
    old.stopped().await;

    let app = TestApp::start_with(store, costlier).await;
    app.log_in(&ada.email, "not the password").await.expect(400);
    let token = app.token_of(&ada.email).await;
    let events = eventually("the new hash", async || {
        let events = rehashed(&app).await;
        (!events.is_empty()).then_some(events)
    })
    .await;
    assert_eq!(events[0].envelope.stream.as_str(), format!("user-{}", ada.id));
    assert!(events[0].envelope.data.is_empty(), "the hash is personal: {:?}", events[0].envelope.data);
    let projected = events[0].envelope.position;
    app.services().user_rows.wait_until_visible(projected).await;
    // Tokens from before and from the login itself stay valid; the new hash verifies with the new costs.
    for token in [&ada.token, &token] {
        app.me(token).await.expect(200);
    }
    let before = computed(&app).await;
    app.log_in(&ada.email, "not the password").await.expect(400);
    app.log_in(&ada.email, PASSWORD).await.expect(200);
    let after = computed(&app).await;
    assert_eq!((after.get(&64), after[&128]), (before.get(&64), before[&128] + 2));
    assert_eq!(rehashed(&app).await.len(), 1);
}

async fn hash_of_the_legacy_service_is_replaced(store: Store) {
    let app = TestApp::start(store).await;
    let registration = UserCommand::Register {
        email: EmailAddress::parse("old@example.com").unwrap(),
        username: Username::parse("old").unwrap(),
        password_hash: Some(PasswordHash::new(LEGACY_PASSWORD_HASH.to_owned()).unwrap()),
    };
    let done = app.services().users.register("test", None, registration).await.unwrap();
    app.services().user_rows.wait_until_visible(done.position.unwrap()).await;
    app.log_in("old@example.com", LEGACY_PASSWORD).await.expect(200);
    eventually("the new hash", async || (rehashed(&app).await.len() == 1).then_some(())).await;
    app.log_in("old@example.com", LEGACY_PASSWORD).await.expect(200);
    app.log_in("old@example.com", "wrong").await.expect(400);
}

async fn unknown_accounts_have_the_costs_of_known_ones(store: Store) {
    let old = TestApp::start(store).await;
    for number in 0..10 {
        sign_up_request(&old, &format!("old{number}")).send().await.expect(201);
    }
    let store = old.store().clone();
    old.stopped().await;

    let app = TestApp::start_with(store, costlier).await;
    for number in 0..10 {
        sign_up_request(&app, &format!("new{number}")).send().await.expect(201);
    }
    let mut number = 0;
    let mut unknown = || {
        number += 1;
        email_of(&format!("unknown{number}"))
    };
    let failure = async |email: &str| {
        let before = computed(&app).await;
        app.log_in(email, "not the password").await.expect(400);
        let after = computed(&app).await;
        let differs = |memory: &u64| after.get(memory) != before.get(memory);
        let used: Vec<u64> = after.keys().copied().filter(differs).collect();
        assert_eq!(used.len(), 1, "one hash for {email}: {used:?}");
        used[0]
    };
    // Once the hashes that were there before this process have been counted.
    eventually("an unknown account with old costs", async || (failure(&unknown()).await == 64).then_some(()))
        .await;
    let mut counts = BTreeMap::from([(64, 0), (128, 0)]);
    for _ in 0..40 {
        let email = unknown();
        let used = failure(&email).await;
        assert_eq!(failure(&email).await, used, "another attempt has the same costs");
        *counts.get_mut(&used).unwrap() += 1;
    }
    assert!(counts.values().all(|count| *count >= 5), "about half each: {counts:?}");
}

//! Costs of password hashes: a login replaces a hash with old costs, and the hash that is computed for an
//! unknown account has the costs of one that exists.

use std::collections::{BTreeMap, BTreeSet};

use aegis::command::CommandContext;
use aegis::config::Settings;
use domain::{EmailAddress, Moment, PasswordHash, UserCommand, UserId, Username};
use store::{EventQuery, StoredEvent};

use crate::support::{
    LEGACY_PASSWORD, LEGACY_PASSWORD_HASH, PASSWORD, Store, TestApp, email_of, eventually, metrics,
    on_both_stores, sign_up_request,
};

on_both_stores! {
    login_replaces_a_hash_with_old_costs_once
    hash_of_the_legacy_service_is_replaced
    hashes_of_other_systems_are_replaced
    unknown_accounts_have_the_costs_of_known_ones
    unknown_accounts_have_the_kind_of_imported_ones
}

/// Hashes of `correct horse battery`, made by passlib 1.7.4 with bcrypt 4.0.1, Django 5.2.19 and Werkzeug 3.1.9.
const OTHER_SYSTEMS: [(&str, &str); 4] = [
    ("bcrypt", BCRYPT_HASH),
    ("django", "pbkdf2_sha256$1000$IK5N22fp9utO8uyMI1itO1$ShYt7hkOXZFm9g1x6UTUIXiZTRawg+nrse0+yDTCoUo="),
    ("passlib", "$bcrypt-sha256$v=2,t=2b,r=4$nn.IuldZBT/M89R9uQggC.$QCZojh2IPELa2XfKWu4QohVr75GO1w6"),
    (
        "werkzeug",
        "scrypt:256:8:2$TeMDH4lH4JHlTSEc$8f95e1e5fabfa2ae5e67b133c4e2513b0fa3a826b757bd745e5b7a6d823380f7b9e5a76caacbdf2330cf24e240de957b017d5f6961b86a60b1a5dead8a65f771",
    ),
];
const BCRYPT_HASH: &str = "$2b$05$K3najU0uJ2yU1a.s9Bz6ROUYL1CTbY5dmDTm7f9/VxG7dG6Zwd8Mq";

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

async fn import(app: &TestApp, name: &str, hash: &str) -> UserId {
    let import = UserCommand::Import {
        email: EmailAddress::parse(&email_of(name)).unwrap(),
        username: Username::parse(name).unwrap(),
        password_hash: Some(PasswordHash::new(hash.to_owned()).unwrap()),
        is_active: true,
        created_at: Moment::from_millisecond(1_600_000_000_000).unwrap(),
    };
    let context = CommandContext::new("operator:test", "import");
    let done = app.services().users.create(&context, import, &BTreeSet::new()).await.unwrap();
    app.services().user_rows.wait_until_visible(done.position.unwrap()).await;
    done.id
}

async fn hashes_of_other_systems_are_replaced(store: Store) {
    let app = TestApp::start(store).await;
    for (number, (name, hash)) in OTHER_SYSTEMS.into_iter().enumerate() {
        let id = import(&app, name, hash).await;
        let email = email_of(name);
        app.log_in(&email, "correct horse batter").await.expect(400);
        assert_eq!(rehashed(&app).await.len(), number, "{name}: a wrong password replaces no hash");
        app.log_in(&email, LEGACY_PASSWORD).await.expect(200);
        let event = eventually("the new hash", async || rehashed(&app).await.into_iter().nth(number)).await;
        assert_eq!(event.envelope.stream.as_str(), format!("user-{id}"));
        app.services().user_rows.wait_until_visible(event.envelope.position).await;
        let rows = app.services().user_rows.page(None, 100).await.unwrap();
        let row = rows.into_iter().find(|row| row.id == id).unwrap();
        let replaced = row.password_hash.unwrap();
        assert!(replaced.expose().starts_with("$argon2id$v=19$m=64,t=1,p=1$"), "{name}");
        app.log_in(&email, LEGACY_PASSWORD).await.expect(200);
        app.log_in(&email, "correct horse batter").await.expect(400);
        assert_eq!(rehashed(&app).await.len(), number + 1, "{name}: replaced once");
    }
}

async fn unknown_accounts_have_the_kind_of_imported_ones(store: Store) {
    let old = TestApp::start(store).await;
    import(&old, "imported", BCRYPT_HASH).await;
    let store = old.store().clone();
    old.stopped().await;

    let app = TestApp::start(store).await;
    let bcrypt_hashes = async || {
        let text = metrics(&app).await;
        let label = "aegis_password_hashes_total{costs=\"bcrypt,cost=5\"} ";
        let count = text.lines().find_map(|line| line.strip_prefix(label));
        count.map_or(0, |count| count.trim().parse::<u64>().unwrap())
    };
    // Once the hashes that were there before this process have been counted.
    let mut number = 0;
    let mut unknown = || {
        number += 1;
        email_of(&format!("unknown{number}"))
    };
    eventually("an unknown account with bcrypt", async || {
        app.log_in(&unknown(), "not the password").await.expect(400);
        (bcrypt_hashes().await > 0).then_some(())
    })
    .await;
    for email in [email_of("imported"), "another@example.com".to_owned(), "no address".to_owned()] {
        let before = (bcrypt_hashes().await, computed(&app).await);
        app.log_in(&email, "not the password").await.expect(400);
        let after = (bcrypt_hashes().await, computed(&app).await);
        assert_eq!(after, (before.0 + 1, before.1), "{email}");
    }
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

//! Access tokens signed with keys that the service makes, their rotation, and the key set.

use std::sync::Arc;

use aegis::app::{Database, rotate_token_keys, token_key_entry};
use aegis::config::Secret;
use aegis::crypto::{KeyAlgorithm, PUBLICATION_LEAD};
use jiff::{SignedDuration, Timestamp};
use jsonwebtoken::jwk::JwkSet;
use jsonwebtoken::{Algorithm, DecodingKey, Validation, decode, decode_header};
use mongodb::bson::{Document, doc};
use reqwest::Method;
use serde_json::{Value, json};
use store::{Env, MasterKey, MasterKeys, Rotation};

use crate::support::{
    Deployment, MASTER_KEY, PASSWORD, Response, SECRET_KEY, Store, TestApp, TestClock, email_of,
    on_both_stores, sign_token,
};

on_both_stores! {
    tokens_verify_by_the_key_set_alone
    key_set_is_empty_for_a_shared_secret
    change_of_algorithm_keeps_tokens_valid
    nodes_share_the_keys_and_follow_a_rotation
    rotation_of_the_master_key_rewraps_signing_keys
    swapped_and_foreign_key_entries_are_refused
    key_set_is_cached_by_its_tag
    command_rotates_and_lists_signing_keys
    nodes_that_start_at_once_make_one_key
}

const PATH: &str = "/.well-known/jwks.json";

async fn key_set(app: &TestApp) -> Response {
    app.request_at_root(Method::GET, PATH).send().await.expect(200)
}

async fn key_ids(app: &TestApp) -> Vec<String> {
    let keys = key_set(app).await.json()["keys"].as_array().unwrap().clone();
    keys.iter().map(|key| key["kid"].as_str().unwrap().to_owned()).collect()
}

fn key_id(token: &str) -> Option<String> {
    decode_header(token).unwrap().kid
}

async fn log_in(app: &TestApp, name: &str) -> String {
    let answer = app.log_in(&email_of(name), PASSWORD).await.expect(200);
    answer.json()["access_token"].as_str().unwrap().to_owned()
}

async fn start(store: &Store, algorithm: Algorithm, previous: Option<Algorithm>) -> TestApp {
    TestApp::start_with(store.clone(), |settings| {
        settings.tokens.algorithm = algorithm;
        settings.tokens.previous_algorithm = previous;
        if algorithm != Algorithm::HS256 && previous.is_none() {
            settings.tokens.secret_key = None;
        }
    })
    .await
}

/// `aegis keys rotate --signing` by the clock of the service.
pub(crate) async fn rotate(app: &TestApp, at_once: bool) -> String {
    let settings = TestApp::settings_of(app.store());
    let database = Database::connect(&settings.database).await.unwrap();
    let env = Env::new(app.clock.clone(), app.clock.clone());
    let entry = token_key_entry(&database, &settings.master_key, &env);
    rotate_token_keys(&entry, KeyAlgorithm::EdDSA, at_once, &env).await.unwrap().0.id
}

/// What a node does every 30 seconds.
async fn poll(app: &TestApp) {
    app.services().token_keys.as_ref().unwrap().load().await.unwrap();
}

async fn tokens_verify_by_the_key_set_alone(store: Store) {
    for algorithm in [Algorithm::EdDSA, Algorithm::ES256] {
        let app = start(&store, algorithm, None).await;
        let name = format!("{algorithm:?}").to_lowercase();
        let user = app.sign_up(&name).await;
        app.me(&user.token).await.expect(200);
        let answer = key_set(&app).await;
        let [key] = answer.json()["keys"].as_array().unwrap().clone().try_into().unwrap();
        let key: Value = key;
        assert!(key.get("d").is_none() && key["use"] == "sig", "{key}");
        assert_eq!(key["kid"].as_str().map(str::to_owned), key_id(&user.token));
        let keys: JwkSet = serde_json::from_slice(answer.bytes()).unwrap();
        let key = DecodingKey::from_jwk(keys.find(&key_id(&user.token).unwrap()).unwrap()).unwrap();
        let claims = decode::<Value>(&user.token, &key, &Validation::new(algorithm)).unwrap().claims;
        assert_eq!(claims["sub"], user.id.as_str());
        // After a restart the same key signs.
        let before = key_ids(&app).await;
        app.stopped().await;
        let app = start(&store, algorithm, None).await;
        assert_eq!(key_ids(&app).await, before);
        app.me(&user.token).await.expect(200);
        // The secret has no meaning.
        let shared =
            sign_token(&json!({"sub": user.id, "exp": 4_000_000_000_u64}), Algorithm::HS256, SECRET_KEY);
        app.me(&shared).await.expect(403);
        app.stopped().await;
    }
}

async fn key_set_is_empty_for_a_shared_secret(store: Store) {
    let app = TestApp::start(store).await;
    assert_eq!(key_set(&app).await.json(), json!({"keys": []}));
    assert_eq!(key_id(&app.sign_up("ada").await.token), None);
}

async fn change_of_algorithm_keeps_tokens_valid(store: Store) {
    let app = start(&store, Algorithm::HS256, None).await;
    let user = app.sign_up("ada").await;
    app.stopped().await;
    let app = start(&store, Algorithm::EdDSA, Some(Algorithm::HS256)).await;
    app.me(&user.token).await.expect(200);
    let signed = log_in(&app, "ada").await;
    assert_eq!(Some(key_ids(&app).await.remove(0)), key_id(&signed));
    app.stopped().await;
    let app = start(&store, Algorithm::HS256, Some(Algorithm::EdDSA)).await;
    app.me(&signed).await.expect(200);
    app.me(&user.token).await.expect(200);
    assert_eq!(key_ids(&app).await, [key_id(&signed).unwrap()]);
    app.stopped().await;
    let app = start(&store, Algorithm::HS256, None).await;
    app.me(&signed).await.expect(403);
    app.me(&user.token).await.expect(200);
}

async fn nodes_share_the_keys_and_follow_a_rotation(store: Store) {
    let first = start(&store, Algorithm::EdDSA, None).await;
    let start = Env::system().now();
    let clock = Arc::new(TestClock::default());
    let second = first.start_second_node_with_clock(clock.clone()).await;
    let at = |time: Timestamp| {
        first.clock.set(time);
        clock.set(time);
    };
    at(start);
    let user = first.sign_up("ada").await;
    second.me(&user.token).await.expect(200);
    let old = key_ids(&first).await;
    assert_eq!(key_ids(&second).await, old);

    let new = rotate(&first, false).await;
    poll(&first).await;
    poll(&second).await;
    assert_eq!(key_ids(&second).await, [old[0].clone(), new.clone()]);
    assert_eq!(key_id(&log_in(&second, "ada").await), Some(old[0].clone()), "not before it is known");
    let signs = start + SignedDuration::from_secs(PUBLICATION_LEAD + 1);
    at(signs);
    for node in [&first, &second] {
        let token = log_in(node, "ada").await;
        assert_eq!(key_id(&token), Some(new.clone()));
        first.me(&token).await.expect(200);
        second.me(&token).await.expect(200);
    }
    second.me(&user.token).await.expect(200);

    // The second node has not loaded this key: a token that names it makes the node do so.
    let newest = rotate(&first, true).await;
    poll(&first).await;
    let token = log_in(&first, "ada").await;
    assert_eq!(key_id(&token), Some(newest.clone()));
    second.me(&token).await.expect(200);
    assert_eq!(key_id(&log_in(&second, "ada").await), Some(newest.clone()));

    // Once the tokens of the first keys have expired, the newest alone is left.
    at(signs + SignedDuration::from_hours(7 * 24 + 1));
    assert_eq!(key_ids(&second).await, [newest]);
    second.me(&user.token).await.expect(403);
}

async fn rotation_of_the_master_key_rewraps_signing_keys(store: Store) {
    let app = start(&store, Algorithm::EdDSA, None).await;
    let user = app.sign_up("ada").await;
    let ids = key_ids(&app).await;
    app.stopped().await;
    let settings = TestApp::settings_of(&store);
    let database = Database::connect(&settings.database).await.unwrap();
    let old = MasterKey::from_base64(MASTER_KEY).unwrap();
    let new = MasterKey::generate(&Env::system());
    let masters = Arc::new(MasterKeys::new(new.clone(), [old.clone()]));
    let done = Rotation::new(Arc::clone(&database.keys), masters, Env::system()).run(&mut |_, _| {}).await;
    let done = done.unwrap();
    assert_eq!(done.service_keys, ["signing", "tokens", "claims"]);
    assert!(done.left.is_wrapped_only_by(new.id()), "{:?}", done.left);
    let app = TestApp::start_with(store, |settings| {
        settings.tokens.algorithm = Algorithm::EdDSA;
        settings.master_key = new.into();
    })
    .await;
    assert_eq!(key_ids(&app).await, ids);
    app.me(&user.token).await.expect(200);
}

/// Stores another value as the entry of the signing keys.
async fn replace_entry(store: &Store, entry: &[u8]) {
    if let Some(database) = store.mongo_database().await {
        let bytes = mongodb::bson::Binary {
            subtype: mongodb::bson::spec::BinarySubtype::Generic,
            bytes: entry.to_vec(),
        };
        let keys = database.collection::<Document>("keys");
        keys.update_one(doc! {"_id": "tokens"}, doc! {"$set": {"key": bytes}}).await.unwrap();
    } else {
        let connection = rusqlite::Connection::open(store.file()).unwrap();
        connection.execute("UPDATE keys SET wrapped = ?1 WHERE name = 'tokens'", [entry]).unwrap();
    }
}

async fn swapped_and_foreign_key_entries_are_refused(store: Store) {
    let app = start(&store, Algorithm::EdDSA, None).await;
    let user = app.sign_up("ada").await;
    let settings = TestApp::settings_of(&store);
    let database = Database::connect(&settings.database).await.unwrap();
    let stored = database.keys.service_keys().await.unwrap();
    let own = &stored["tokens"];
    let master = MasterKey::from_base64(MASTER_KEY).unwrap();
    // What an attacker with the database alone can write.
    let foreign = MasterKey::generate(&Env::system()).wrap("keys/tokens", b"[]", &Env::system()).unwrap();
    let of_another_owner = master.wrap("keys/signing", b"[]", &Env::system()).unwrap();
    let mut changed = own.clone();
    *changed.last_mut().unwrap() ^= 1;
    for entry in [foreign, of_another_owner, changed, stored["signing"].clone(), Vec::new()] {
        replace_entry(&store, &entry).await;
        let keys = app.services().token_keys.as_ref().unwrap();
        keys.load().await.unwrap_err();
        app.me(&user.token).await.expect(200);
        let reopened = aegis::app::TokenKeyStore::open(
            token_key_entry(&database, &settings.master_key, &Env::system()),
            Arc::new(aegis::crypto::Tokens::new(
                &aegis::config::TokenSettings {
                    secret_key: Some(Secret::new(SECRET_KEY.to_owned())),
                    algorithm: Algorithm::EdDSA,
                    ..settings.tokens.clone()
                },
                Env::system(),
            )),
            settings.tokens.lifetime,
            Env::system(),
        );
        assert!(reopened.await.is_err(), "a node does not start with it");
    }
    replace_entry(&store, own).await;
    poll(&app).await;
    app.me(&user.token).await.expect(200);
}

async fn key_set_is_cached_by_its_tag(store: Store) {
    let app = start(&store, Algorithm::EdDSA, None).await;
    let answer = key_set(&app).await;
    assert_eq!(answer.header("cache-control"), "public, max-age=300");
    assert_eq!(answer.header("content-type"), "application/json");
    let tag = answer.header("etag").to_owned();
    let again = || app.request_at_root(Method::GET, PATH).header("If-None-Match", &tag).send();
    again().await.expect(304);
    rotate(&app, false).await;
    poll(&app).await;
    assert_ne!(again().await.expect(200).header("etag"), tag);
    for path in [format!("{PATH}/"), format!("/api/v1{PATH}")] {
        app.request_at_root(Method::GET, &path).send().await.expect(200);
    }
}

async fn command_rotates_and_lists_signing_keys(store: Store) {
    let deployment = Deployment::of(store);
    let refused = deployment.run(&["keys", "rotate", "--signing"]).await;
    assert!(refused.code == Some(1), "no database, or a shared secret: {refused:?}");
    let deployment = deployment.with("ALGORITHM", "ES256");
    let service = deployment.serve().await;
    let rotated = deployment.run_ok(&["keys", "rotate", "--signing", "--json"]).await;
    let rotated: Value = serde_json::from_str(&rotated.stdout).unwrap();
    let states = |output: &Value| {
        let keys = output["signing_keys"].as_array().unwrap().iter();
        keys.map(|key| key["state"].as_str().unwrap().to_owned()).collect::<Vec<_>>()
    };
    assert_eq!(states(&rotated), ["signs", "published"], "{rotated}");
    let at_once = deployment.run_ok(&["keys", "rotate", "--signing", "--now"]).await;
    assert!(
        at_once
            .stdout
            .contains(&format!("signing key {} (ES256) signs since", rotated["id"].as_str().unwrap()))
    );
    let listed = deployment.run_ok(&["keys", "status", "--json"]).await;
    let listed: Value = serde_json::from_str(&listed.stdout).unwrap();
    assert_eq!(states(&listed), ["verifies", "signs"], "{listed}");
    assert_eq!(listed["keys"][0]["service_keys"], json!(["claims", "signing", "tokens"]));
    service.kill();
}

async fn nodes_that_start_at_once_make_one_key(store: Store) {
    let nodes = futures::future::join_all((0..4).map(|_| start(&store, Algorithm::ES256, None))).await;
    let ids = key_ids(&nodes[0]).await;
    assert_eq!(ids.len(), 1);
    for node in &nodes {
        assert_eq!(key_ids(node).await, ids);
    }
    let user = nodes[0].sign_up("ada").await;
    nodes[3].me(&user.token).await.expect(200);
}

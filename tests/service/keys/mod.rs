//! Master keys: `aegis keys status` and `aegis keys rotate` beside running services. No user becomes
//! unreadable, no erased user becomes readable, and missing keys are named.

mod files;
mod interrupted;
mod missing;
mod rotation;

use serde_json::Value;
use store::MasterKey;

use crate::support::{
    Client, Deployment, MASTER_KEY, PASSWORD, Response, Store, dump, email_of, sign_up_request,
};

const NEW_KEY: &str = "//////////////////////////////////////////8=";
const UNRELATED_KEY: &str = "ERERERERERERERERERERERERERERERERERERERERERE=";

fn id_of(key: &str) -> String {
    MasterKey::from_base64(key).unwrap().id().to_string()
}

/// A deployment with these master keys, the current one first.
fn with_keys(store: &Store, keys: &[&str]) -> Deployment {
    let deployment = Deployment::of(store.clone()).with("AEGIS_MASTER_KEY", keys[0]);
    deployment.with("AEGIS_MASTER_KEY_PREVIOUS", &keys[1..].join(","))
}

async fn sign_up(client: &Client, name: &str) -> Response {
    sign_up_request(client, name).send().await
}

async fn assert_all_log_in(client: &Client, names: impl IntoIterator<Item = String>) {
    for name in names {
        client.log_in(&email_of(&name), PASSWORD).await.expect(200);
    }
}

fn names(prefix: &str, count: usize) -> impl Iterator<Item = String> {
    (0..count).map(move |number| format!("{prefix}{number}"))
}

fn contains_keys(text: &str) -> bool {
    [MASTER_KEY, NEW_KEY, UNRELATED_KEY].iter().any(|key| text.contains(key))
}

async fn status(deployment: &Deployment) -> Value {
    deployment.json(&["keys", "status"]).await.remove(0)
}

/// State, stream keys and service keys of each master key.
fn key_summary(status: &Value) -> Vec<(String, u64, u64)> {
    let line = |key: &Value| {
        let service_keys = key["service_keys"].as_array().unwrap().len().try_into().unwrap();
        (key["state"].as_str().unwrap().to_owned(), key["streams"].as_u64().unwrap(), service_keys)
    };
    status["keys"].as_array().unwrap().iter().map(line).collect()
}

/// Asserts that the service does not start, names the missing master key and what it wraps, and changes
/// nothing.
async fn assert_refused(deployment: &Deployment, missing: &str, wraps: &str) {
    let before = dump(deployment.store()).await;
    let refused = deployment.run(&["serve"]).await;
    assert_eq!(refused.code, Some(1), "{refused:?}");
    let stderr = &refused.stderr;
    assert!(stderr.contains(&id_of(missing)) && stderr.contains(wraps), "{stderr}");
    assert!(!stderr.contains("panicked") && !contains_keys(&format!("{refused:?}")), "{stderr}");
    assert!(before == dump(deployment.store()).await, "the database was changed");
}

//! The master key: `aegis keys status` and `aegis keys rotate`, beside running services. Nobody is lost, nobody comes
//! back, and what is missing is named.

use std::fs;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use aegis::app::Database;
use async_trait::async_trait;
use serde_json::{Value, json};
use store::rotation::{Rewrapped, WrappedKeys};
use store::{Ambient, MasterKey, MasterKeys, Rotation, StoreError, StreamId};
use testkit::service::Finished;

use crate::support::{
    Answer, Client, Installation, MASTER_KEY, PASSWORD, Store, credentials, dump, email_of, on_both_stores,
    on_one_store, until,
};

on_both_stores! {
    a_rotation_beside_a_service_loses_nobody_and_brings_nobody_back
    an_interrupted_rotation_is_gone_on_with
    a_missing_key_is_named_and_nobody_is_taken_for_unknown
    a_rotation_without_a_new_key_says_how_to_get_one
}

mod embedded {
    use super::{
        a_generated_key_is_replaced_whenever_it_is_killed, old_key_files_go_when_asked, on_one_store,
    };

    on_one_store! { sqlite:
        a_generated_key_is_replaced_whenever_it_is_killed
        old_key_files_go_when_asked
    }
}

mod two_services {
    use super::{a_service_without_the_new_key_says_so, on_one_store};

    on_one_store! { mongo: a_service_without_the_new_key_says_so }
}

const NEW_KEY: &str = "//////////////////////////////////////////8=";
const STRANGE_KEY: &str = "ERERERERERERERERERERERERERERERERERERERERERE=";

fn id_of(key: &str) -> String {
    MasterKey::from_base64(key).unwrap().id().to_string()
}

/// An installation with these master keys, the current one first.
fn with_keys(store: &Store, keys: &[&str]) -> Installation {
    let installation = Installation::of(store.clone()).with("AEGIS_MASTER_KEY", keys[0]);
    installation.with("AEGIS_MASTER_KEY_PREVIOUS", &keys[1..].join(","))
}

async fn sign_up(client: &Client, name: &str) -> Answer {
    client.post("/auth/signup").json(&credentials(name)).send().await
}

async fn assert_all_log_in(client: &Client, names: impl IntoIterator<Item = String>) {
    for name in names {
        client.log_in(&email_of(&name), PASSWORD).await.expect(200);
    }
}

fn names(prefix: &str, count: usize) -> impl Iterator<Item = String> {
    (0..count).map(move |number| format!("{prefix}{number}"))
}

fn shown_keys(said: &str) -> bool {
    [MASTER_KEY, NEW_KEY, STRANGE_KEY].iter().any(|key| said.contains(key))
}

async fn status(installation: &Installation) -> Value {
    installation.json(&["keys", "status"]).await.remove(0)
}

/// State, stream keys and service keys of each master key.
fn told(status: &Value) -> Vec<(String, u64, u64)> {
    let line = |key: &Value| {
        let service_keys = key["service_keys"].as_array().unwrap().len().try_into().unwrap();
        (key["state"].as_str().unwrap().to_owned(), key["streams"].as_u64().unwrap(), service_keys)
    };
    status["keys"].as_array().unwrap().iter().map(line).collect()
}

/// It does not start, says which master key is missing and what that wraps, and changes nothing.
async fn assert_refused(installation: &Installation, missing: &str, wraps: &str) {
    let before = dump(installation.store()).await;
    let refused = installation.run(&["serve"]).await;
    assert_eq!(refused.code, Some(1), "{refused:?}");
    let stderr = &refused.stderr;
    assert!(stderr.contains(&id_of(missing)) && stderr.contains(wraps), "{stderr}");
    assert!(!stderr.contains("panicked") && !shown_keys(&format!("{refused:?}")), "{stderr}");
    assert!(before == dump(installation.store()).await, "the database was changed");
}

async fn a_rotation_beside_a_service_loses_nobody_and_brings_nobody_back(store: Store) {
    let old = with_keys(&store, &[MASTER_KEY]);
    let mut first = old.serve().await;
    for name in names("early", 6).chain(["gone".to_owned()]) {
        sign_up(first.client(), &name).await.expect(201);
    }
    assert!(first.terminate().await.success());

    let both = with_keys(&store, &[NEW_KEY, MASTER_KEY]);
    let mut service = both.serve().await;
    // Nothing is wrapped by the new key before the rotation: those who have the old one alone read on.
    sign_up(service.client(), "between").await.expect(201);
    let before = status(&both).await;
    assert_eq!(told(&before), [("current".to_owned(), 0, 0), ("previous".to_owned(), 8, 2)]);
    assert!(before["next"][0].as_str().unwrap().contains("aegis keys rotate"), "{before}");
    old.done(&["events", "verify"]).await;

    let (client, gone) = (service.client(), email_of("gone"));
    let coming = async {
        for name in names("late", 20) {
            sign_up(client, &name).await.expect(201);
        }
    };
    let erasing = ["users", "erase", &gone, "--reason", "request", "--yes"];
    let rotating = ["keys", "rotate"];
    let (rotated, again, erased, ()) =
        tokio::join!(both.done(&rotating), both.done(&rotating), both.done(&erasing), coming);
    assert!(rotated.stdout.contains(&id_of(NEW_KEY)) && rotated.stdout.contains("AEGIS_MASTER_KEY_PREVIOUS"));
    let after = status(&both).await;
    assert_eq!(told(&after), [("current".to_owned(), 27, 2), ("previous".to_owned(), 0, 0)]);

    let everybody = || names("early", 6).chain(names("late", 20)).chain(["between".to_owned()]);
    assert_all_log_in(client, everybody()).await;
    assert_eq!(client.log_in(&gone, PASSWORD).await.code(400), "invalid_credentials");
    both.done(&["events", "verify"]).await;
    assert!(service.terminate().await.success());
    assert!(!shown_keys(&format!("{}{rotated:?}{again:?}{erased:?}{before}{after}", service.said())));

    assert_refused(&old, NEW_KEY, "27 stream keys and the service keys claims, signing").await;
    let new = with_keys(&store, &[NEW_KEY]);
    let service = new.serve().await;
    assert_all_log_in(service.client(), everybody()).await;
    assert_eq!(sign_up(service.client(), "late0").await.code(400), "email_taken");
    sign_up(service.client(), "gone").await.expect(201);
    new.done(&["projections", "rebuild", "users"]).await;
    new.done(&["events", "verify"]).await;
}

/// Wrapped keys of which the first change alone is made.
struct Stopping(Arc<dyn WrappedKeys>, AtomicUsize);

#[async_trait]
impl WrappedKeys for Stopping {
    async fn service_keys(&self) -> Result<std::collections::BTreeMap<String, Vec<u8>>, StoreError> {
        self.0.service_keys().await
    }

    async fn count_keys(
        &self,
        known: &[store::vault::KeyId],
    ) -> Result<std::collections::BTreeMap<Option<store::vault::KeyId>, u64>, StoreError> {
        self.0.count_keys(known).await
    }

    async fn wrapped_keys(
        &self,
        after: Option<&StreamId>,
        limit: usize,
    ) -> Result<Vec<store::rotation::Wrapped>, StoreError> {
        self.0.wrapped_keys(after, limit).await
    }

    async fn replace_keys(&self, changes: &[Rewrapped]) -> Result<u64, StoreError> {
        let left = self.1.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |left| left.checked_sub(1));
        if left.is_err() {
            return Err(StoreError::Refused("killed".to_owned()));
        }
        // Half of the page.
        self.0.replace_keys(&changes[..changes.len() / 2]).await
    }

    async fn replace_service_key(&self, name: &str, from: &[u8], to: &[u8]) -> Result<bool, StoreError> {
        self.0.replace_service_key(name, from, to).await
    }
}

fn both_keys() -> Arc<MasterKeys> {
    let [new, old] = [NEW_KEY, MASTER_KEY].map(|key| MasterKey::from_base64(key).unwrap());
    Arc::new(MasterKeys::new(new, [old]))
}

async fn an_interrupted_rotation_is_gone_on_with(store: Store) {
    let mut first = with_keys(&store, &[MASTER_KEY]).serve().await;
    for name in names("user", 6) {
        sign_up(first.client(), &name).await.expect(201);
    }
    assert!(first.terminate().await.success());
    let keys = Database::connect(&store.settings()).await.unwrap().keys;
    let stopping = Arc::new(Stopping(keys, AtomicUsize::new(1)));
    Rotation::new(stopping, both_keys(), Ambient::system()).run(&mut |_, _| {}).await.unwrap_err();

    // Neither key alone is enough, and both together are.
    assert_refused(&with_keys(&store, &[NEW_KEY]), MASTER_KEY, "3 stream keys and the service key claims")
        .await;
    assert_refused(&with_keys(&store, &[MASTER_KEY]), NEW_KEY, "3 stream keys and the service key signing")
        .await;
    let both = with_keys(&store, &[NEW_KEY, MASTER_KEY]);
    assert_eq!(told(&status(&both).await), [("current".to_owned(), 3, 1), ("previous".to_owned(), 3, 1)]);
    let service = both.serve().await;
    assert_all_log_in(service.client(), names("user", 6)).await;
    sign_up(service.client(), "another").await.expect(201);
    let done = both.json(&["keys", "rotate"]).await.remove(0);
    assert_eq!(
        (&done["streams"], &done["service_keys"], &done["complete"]),
        (&json!(3), &json!(["claims"]), &json!(true))
    );
    assert_eq!(told(&status(&with_keys(&store, &[NEW_KEY])).await), [("current".to_owned(), 7, 2)]);
    both.done(&["events", "verify"]).await;
}

/// The key of one person under a master key that nobody was given: that person cannot be read, and everybody else can.
async fn a_missing_key_is_named_and_nobody_is_taken_for_unknown(store: Store) {
    let installation = with_keys(&store, &[MASTER_KEY]);
    let service = installation.serve().await;
    let id = sign_up(service.client(), "ada").await.expect(201).json()["id"].as_str().unwrap().to_owned();
    sign_up(service.client(), "bob").await.expect(201);
    let token = service.client().log_in(&email_of("ada"), PASSWORD).await.json()["access_token"]
        .as_str()
        .unwrap()
        .to_owned();
    let stream = StreamId::new(format!("user-{id}")).unwrap();
    let keys = Database::connect(&store.settings()).await.unwrap().keys;
    let (_, from) =
        keys.wrapped_keys(None, 9).await.unwrap().into_iter().find(|(one, _)| *one == stream).unwrap();
    let [old, strange] = [MASTER_KEY, STRANGE_KEY].map(|key| MasterKey::from_base64(key).unwrap());
    let key = old.unwrap(stream.as_str(), &from).unwrap();
    let to = strange.wrap(stream.as_str(), &key, &Ambient::system()).unwrap();
    assert_eq!(keys.replace_keys(&[Rewrapped { stream, from, to }]).await.unwrap(), 1);

    let leave = || {
        service
            .client()
            .post("/users/me/deactivate")
            .bearer(&token)
            .json(&json!({"password": PASSWORD}))
            .send()
    };
    assert_eq!(leave().await.code(503), "unavailable");
    assert!(service.said().contains(&id_of(STRANGE_KEY)), "{}", service.said());
    assert_all_log_in(service.client(), ["bob".to_owned()]).await;
    sign_up(service.client(), "cid").await.expect(201);
    let named = |finished: &Finished, code: i32| {
        assert_eq!(finished.code, Some(code), "{finished:?}");
        assert!(
            finished.stderr.contains(&id_of(STRANGE_KEY)) && !shown_keys(&format!("{finished:?}")),
            "{finished:?}"
        );
    };
    let found = installation.run(&["keys", "status"]).await;
    named(&found, 3);
    assert!(found.stdout.contains("missing") && found.stderr.contains("1 stream key,"), "{found:?}");
    named(&installation.run(&["events", "list"]).await, 1);
    let verified = installation.run(&["events", "verify"]).await;
    named(&verified, 3);
    assert!(verified.stderr.contains("position 1: "), "{verified:?}");
    // A rotation takes the others along and loses nothing.
    let both = with_keys(&store, &[NEW_KEY, MASTER_KEY]);
    named(&both.run(&["keys", "rotate"]).await, 3);
    service.kill();
    let service = with_keys(&store, &[NEW_KEY, STRANGE_KEY]).serve().await;
    let all = with_keys(&store, &[NEW_KEY, STRANGE_KEY]);
    all.done(&["keys", "rotate"]).await;
    assert_eq!(told(&status(&all).await)[0], ("current".to_owned(), 3, 2));
    service
        .client()
        .post("/users/me/deactivate")
        .bearer(&token)
        .json(&json!({"password": PASSWORD}))
        .send()
        .await
        .expect(204);
    with_keys(&store, &[NEW_KEY]).done(&["events", "verify"]).await;
}

async fn a_rotation_without_a_new_key_says_how_to_get_one(store: Store) {
    let installation = with_keys(&store, &[MASTER_KEY]);
    let mut service = installation.serve().await;
    sign_up(service.client(), "ada").await.expect(201);
    assert!(service.terminate().await.success());
    let before = dump(&store).await;
    let done = installation.done(&["keys", "rotate"]).await;
    assert!(done.stdout.contains("AEGIS_MASTER_KEY_PREVIOUS"), "{done:?}");
    let refused = installation.run(&["keys", "rotate", "--delete-old"]).await;
    assert_eq!(refused.code, Some(1), "{refused:?}");
    // The new key without that of before.
    let alone = with_keys(&store, &[NEW_KEY]).run(&["keys", "rotate"]).await;
    assert_eq!(alone.code, Some(1), "{alone:?}");
    assert!(alone.stderr.contains(&id_of(MASTER_KEY)), "{alone:?}");
    assert!(before == dump(&store).await, "the database was changed");
    let faulty = with_keys(&store, &[NEW_KEY, MASTER_KEY, "short"]).run(&["keys", "status"]).await;
    assert!(faulty.stderr.contains("its key no. 2 is not 32 bytes"), "{faulty:?}");
    let shown = with_keys(&store, &[NEW_KEY, MASTER_KEY]).done(&["config"]).await;
    assert!(
        shown.stdout.contains("AEGIS_MASTER_KEY_PREVIOUS=********") && !shown_keys(&format!("{shown:?}"))
    );
}

/// The master keys in files, current first.
fn key_files(store: &Store) -> Vec<String> {
    let entries =
        fs::read_dir(store.folder()).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap());
    let mut names: Vec<_> = entries.filter(|name| name.starts_with("master")).collect();
    // "master.key" after "master-….key".
    names.sort_unstable();
    names.reverse();
    names
        .iter()
        .map(|name| fs::read_to_string(store.folder().join(name)).unwrap().trim().to_owned())
        .collect()
}

async fn a_generated_key_is_replaced_whenever_it_is_killed() {
    let installation = Installation::of(Store::sqlite());
    let service = installation.serve().await;
    for name in names("user", 5) {
        sign_up(service.client(), &name).await.expect(201);
    }
    // At any moment, also between making the key and wrapping with it.
    for step in 0..16 {
        let rotating = installation.start(&["keys", "rotate"]);
        tokio::time::sleep(Duration::from_millis(6 * step)).await;
        rotating.kill();
        sign_up(service.client(), &format!("step{step}")).await.expect(201);
        installation.done(&["events", "verify"]).await;
    }
    installation.done(&["keys", "rotate"]).await;
    let status = status(&installation).await;
    assert_eq!(told(&status)[0], ("current".to_owned(), 21, 2), "{status}");
    assert_all_log_in(service.client(), names("user", 5).chain(names("step", 16))).await;
    assert!(key_files(installation.store()).iter().all(|key| !service.said().contains(key)));
    service.kill();
    let service = installation.serve().await;
    assert_all_log_in(service.client(), names("step", 16)).await;
}

async fn old_key_files_go_when_asked() {
    let installation = Installation::of(Store::sqlite());
    let service = installation.serve().await;
    sign_up(service.client(), "ada").await.expect(201);
    let [old] = key_files(installation.store()).try_into().unwrap();
    let backup = tempfile::tempdir().unwrap();
    let copy = backup.path().join("aegis.db");
    rusqlite::Connection::open(installation.store().file())
        .unwrap()
        .execute("VACUUM INTO ?1", [copy.to_str().unwrap()])
        .unwrap();
    let rotated = installation.done(&["keys", "rotate"]).await;
    let [new, kept] = key_files(installation.store()).try_into().unwrap();
    assert!(kept == old && new != old, "{rotated:?}");
    assert!(rotated.stdout.contains(&format!("master-{}.key", id_of(&old))), "{rotated:?}");
    let deleted = installation.done(&["keys", "rotate", "--delete-old"]).await;
    assert!(deleted.stdout.contains("deleted"), "{deleted:?}");
    let [newest] = key_files(installation.store()).try_into().unwrap();
    // The service, which was told of none of this, goes on.
    sign_up(service.client(), "bob").await.expect(201);
    until("the rows", async || {
        (service.client().log_in(&email_of("bob"), PASSWORD).await.status() == 200).then_some(())
    })
    .await;
    service.kill();
    let service = installation.serve().await;
    assert_all_log_in(service.client(), ["ada".to_owned(), "bob".to_owned()]).await;
    service.kill();
    // A backup from before needs the key of before, and says which that is; whoever kept it can read it.
    fs::write(backup.path().join("master.key"), &newest).unwrap();
    let restored = installation.with("AEGIS_DATA_DIR", backup.path().to_str().unwrap());
    let refused = restored.run(&["serve"]).await;
    assert_eq!(refused.code, Some(1), "{refused:?}");
    assert!(refused.stderr.contains(&id_of(&old)), "{refused:?}");
    let service = restored.with("AEGIS_MASTER_KEY", &old).serve().await;
    assert_all_log_in(service.client(), ["ada".to_owned()]).await;
}

/// Until the rotation it does as all others do; from then on it cannot make users any more, and says why.
async fn a_service_without_the_new_key_says_so() {
    let store = Store::mongo().await;
    let behind = with_keys(&store, &[MASTER_KEY]).serve().await;
    let both = with_keys(&store, &[NEW_KEY, MASTER_KEY]);
    let ahead = both.serve().await;
    sign_up(ahead.client(), "ada").await.expect(201);
    sign_up(behind.client(), "bob").await.expect(201);
    both.done(&["keys", "rotate"]).await;
    assert_eq!(sign_up(behind.client(), "cid").await.code(503), "unavailable");
    assert!(behind.said().contains(&id_of(NEW_KEY)), "{}", behind.said());
    for name in ["cid", "dan"] {
        sign_up(ahead.client(), name).await.expect(201);
    }
    // If it is the one that keeps the read models, it leaves that to a service that can.
    until("the rows of all", async || {
        let last = ahead.client().log_in(&email_of("dan"), PASSWORD).await;
        (last.status() == 200).then_some(())
    })
    .await;
    assert_all_log_in(ahead.client(), ["ada", "bob", "cid", "dan"].map(str::to_owned)).await;
    behind.kill();
    with_keys(&store, &[NEW_KEY]).done(&["events", "verify"]).await;
}

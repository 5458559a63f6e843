//! A data key wrapped by a missing master key.

use aegis::app::Database;
use serde_json::json;
use store::rotation::KeyReplacement;
use store::{Env, MasterKey, StreamId};
use testkit::service::CommandOutput;

use super::{
    NEW_KEY, UNRELATED_KEY, assert_all_log_in, contains_keys, id_of, key_summary, sign_up, status, with_keys,
};
use crate::support::{MASTER_KEY, PASSWORD, Store, email_of, eventually, on_both_stores};

on_both_stores! {
    missing_key_is_named_and_no_user_looks_nonexistent
}

/// A user whose data key is wrapped by an unavailable master key cannot be read; all others can.
async fn missing_key_is_named_and_no_user_looks_nonexistent(store: Store) {
    let deployment = with_keys(&store, &[MASTER_KEY]);
    let service = deployment.serve().await;
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
    let [old, unrelated] = [MASTER_KEY, UNRELATED_KEY].map(|key| MasterKey::from_base64(key).unwrap());
    let key = old.unwrap(stream.as_str(), &from).unwrap();
    let to = unrelated.wrap(stream.as_str(), &key, &Env::system()).unwrap();
    assert_eq!(keys.replace_keys(&[KeyReplacement { stream, from, to }]).await.unwrap(), 1);

    let leave = || {
        service
            .client()
            .post("/users/me/deactivate")
            .bearer(&token)
            .json(&json!({"password": PASSWORD}))
            .send()
    };
    assert_eq!(leave().await.code(503), "unavailable");
    eventually("the key in the log", async || service.output().contains(&id_of(UNRELATED_KEY)).then_some(()))
        .await;
    assert_all_log_in(service.client(), ["bob".to_owned()]).await;
    sign_up(service.client(), "cid").await.expect(201);
    let named = |finished: &CommandOutput, code: i32| {
        assert_eq!(finished.code, Some(code), "{finished:?}");
        assert!(
            finished.stderr.contains(&id_of(UNRELATED_KEY)) && !contains_keys(&format!("{finished:?}")),
            "{finished:?}"
        );
    };
    let found = deployment.run(&["keys", "status"]).await;
    named(&found, 3);
    assert!(found.stdout.contains("missing") && found.stderr.contains("1 stream key,"), "{found:?}");
    named(&deployment.run(&["events", "list"]).await, 1);
    let verified = deployment.run(&["events", "verify"]).await;
    named(&verified, 3);
    assert!(verified.stderr.contains("position 1: "), "{verified:?}");
    // A rotation rewraps the other keys and loses nothing.
    let both = with_keys(&store, &[NEW_KEY, MASTER_KEY]);
    named(&both.run(&["keys", "rotate"]).await, 3);
    service.kill();
    let service = with_keys(&store, &[NEW_KEY, UNRELATED_KEY]).serve().await;
    let all = with_keys(&store, &[NEW_KEY, UNRELATED_KEY]);
    all.run_ok(&["keys", "rotate"]).await;
    assert_eq!(key_summary(&status(&all).await)[0], ("current".to_owned(), 3, 2));
    service
        .client()
        .post("/users/me/deactivate")
        .bearer(&token)
        .json(&json!({"password": PASSWORD}))
        .send()
        .await
        .expect(204);
    with_keys(&store, &[NEW_KEY]).run_ok(&["events", "verify"]).await;
}

//! Configurations that the service rejects at startup, and the messages.

use testkit::{MongodServer, reserve_port};

use super::{ADMIN_EMAIL, ADMIN_PASSWORD, new_user, sign_up};
use crate::support::{Deployment, Store, dump, on_both_stores, on_one_store};

on_both_stores! {
    wrong_master_key_is_rejected_and_changes_nothing
    settings_never_promote_an_existing_account_to_administrator
    misspelt_setting_is_rejected_with_a_suggestion
    short_secret_key_is_rejected
    secret_is_masked_wherever_a_message_contains_it
}

mod mongodb {
    use super::on_one_store;
    use super::{
        mongodb_without_configured_keys_is_rejected,
        standalone_mongodb_is_rejected_with_the_command_that_converts_it,
    };

    on_one_store! { mongo:
        standalone_mongodb_is_rejected_with_the_command_that_converts_it
        mongodb_without_configured_keys_is_rejected
    }
}

const ANOTHER_KEY: &str = "//////////////////////////////////////////8=";

async fn wrong_master_key_is_rejected_and_changes_nothing(store: Store) {
    let right = Deployment::of(store.clone());
    let mut service = right.serve().await;
    new_user(service.client(), "ada").await;
    assert!(service.terminate().await.success());
    let before = dump(&store).await;
    let refused = Deployment::of(store.clone()).with("AEGIS_MASTER_KEY", ANOTHER_KEY).run(&["serve"]).await;
    assert_eq!(refused.code, Some(1), "{refused:?}");
    assert!(refused.stderr.contains("master key"), "{refused:?}");
    assert!(!refused.stderr.contains(ANOTHER_KEY) && !refused.stderr.contains("panicked"), "{refused:?}");
    assert!(before == dump(&store).await, "the database was changed");
    let service = right.serve().await;
    sign_up(service.client(), "bob").await;
}

async fn settings_never_promote_an_existing_account_to_administrator(store: Store) {
    let plain = Deployment::of(store.clone());
    let mut service = plain.serve().await;
    new_user(service.client(), "root").await;
    assert!(service.terminate().await.success());
    let with = Deployment::of(store)
        .with("AEGIS_ADMIN_EMAIL", ADMIN_EMAIL)
        .with("AEGIS_ADMIN_PASSWORD", ADMIN_PASSWORD);
    let refused = with.run(&["serve"]).await;
    assert_eq!(refused.code, Some(1), "{refused:?}");
    assert!(refused.stderr.contains("grant"), "it says what to do instead: {refused:?}");
    let users = plain.json(&["users", "list"]).await;
    assert_eq!(users[0]["roles"], serde_json::json!([]));
}

async fn misspelt_setting_is_rejected_with_a_suggestion(store: Store) {
    let refused = Deployment::of(store).with("AEGIS_LISTN", "127.0.0.1:0").run(&["serve"]).await;
    assert_eq!(refused.code, Some(1), "{refused:?}");
    assert!(refused.stderr.contains("AEGIS_LISTN") && refused.stderr.contains("AEGIS_LISTEN"), "{refused:?}");
}

async fn short_secret_key_is_rejected(store: Store) {
    let refused =
        Deployment::of(store).with("SECRET_KEY", "only thirty-one bytes, not more").run(&["serve"]).await;
    assert_eq!(refused.code, Some(1), "{refused:?}");
    assert!(refused.stderr.contains("SECRET_KEY") && refused.stderr.contains("32"), "{refused:?}");
    assert!(!refused.stderr.contains("thirty-one"), "the key is shown: {refused:?}");
}

/// The secrets are words that errors and logs contain for other reasons.
async fn secret_is_masked_wherever_a_message_contains_it(store: Store) {
    let with_password = |password: &str| {
        Deployment::of(store.clone())
            .with("AEGIS_ADMIN_EMAIL", ADMIN_EMAIL)
            .with("AEGIS_ADMIN_PASSWORD", password)
    };
    let refused = with_password("AEGIS_HUNTER2").with("AEGIS_HUNTER2", "1").run(&["serve"]).await;
    assert_eq!(refused.code, Some(1), "{refused:?}");
    assert!(refused.stderr.contains("********") && !refused.stderr.contains("HUNTER2"), "{refused:?}");
    let mut service = with_password("request completed").serve().await;
    sign_up(service.client(), "ada").await;
    assert!(service.terminate().await.success());
    let log = service.output();
    assert!(log.contains("********") && !log.contains("request completed"), "{log}");
}

async fn standalone_mongodb_is_rejected_with_the_command_that_converts_it() {
    let server = MongodServer::standalone().await;
    let refused = Deployment::of(Store::at(&server.url())).run(&["serve"]).await;
    assert_eq!(refused.code, Some(1), "{refused:?}");
    assert!(refused.stderr.contains("--replSet") && refused.stderr.contains("rs.initiate"), "{refused:?}");
}

async fn mongodb_without_configured_keys_is_rejected() {
    let url = format!("mongodb://127.0.0.1:{}/?replicaSet=rs0", reserve_port());
    for missing in ["SECRET_KEY", "AEGIS_MASTER_KEY"] {
        let refused = Deployment::of(Store::at(&url)).without(missing).run(&["serve"]).await;
        assert_eq!(refused.code, Some(1), "{refused:?}");
        assert!(refused.stderr.contains(missing), "{refused:?}");
    }
}

//! What the service refuses to start with, and how it says so.

use testkit::{MongodServer, reserve_port};

use super::{ADMIN_EMAIL, ADMIN_PASSWORD, newcomer, sign_up};
use crate::support::{Installation, Store, dump, on_both_stores, on_one_store};

on_both_stores! {
    another_master_key_is_refused_and_changes_nothing
    an_existing_account_is_never_made_administrator_by_the_settings
    a_setting_that_is_misspelt_is_refused_with_the_right_one
    a_secret_key_that_is_too_short_is_refused
}

mod mongodb {
    use super::on_one_store;
    use super::{
        a_standalone_server_is_refused_with_the_command_that_converts_it,
        without_its_keys_a_mongodb_is_refused,
    };

    on_one_store! { mongo:
        a_standalone_server_is_refused_with_the_command_that_converts_it
        without_its_keys_a_mongodb_is_refused
    }
}

const ANOTHER_KEY: &str = "//////////////////////////////////////////8=";

async fn another_master_key_is_refused_and_changes_nothing(store: Store) {
    let right = Installation::of(store.clone());
    let mut service = right.serve().await;
    newcomer(service.client(), "ada").await;
    assert!(service.terminate().await.success());
    let before = dump(&store).await;
    let refused = Installation::of(store.clone()).with("AEGIS_MASTER_KEY", ANOTHER_KEY).run(&["serve"]).await;
    assert_eq!(refused.code, Some(1), "{refused:?}");
    assert!(refused.stderr.contains("master key"), "{refused:?}");
    assert!(!refused.stderr.contains(ANOTHER_KEY) && !refused.stderr.contains("panicked"), "{refused:?}");
    assert!(before == dump(&store).await, "the database was changed");
    let service = right.serve().await;
    sign_up(service.client(), "bob").await;
}

async fn an_existing_account_is_never_made_administrator_by_the_settings(store: Store) {
    let plain = Installation::of(store.clone());
    let mut service = plain.serve().await;
    newcomer(service.client(), "root").await;
    assert!(service.terminate().await.success());
    let with = Installation::of(store)
        .with("AEGIS_ADMIN_EMAIL", ADMIN_EMAIL)
        .with("AEGIS_ADMIN_PASSWORD", ADMIN_PASSWORD);
    let refused = with.run(&["serve"]).await;
    assert_eq!(refused.code, Some(1), "{refused:?}");
    assert!(refused.stderr.contains("grant"), "it says what to do instead: {refused:?}");
    let users = plain.json(&["users", "list"]).await;
    assert_eq!(users[0]["roles"], serde_json::json!([]));
}

async fn a_setting_that_is_misspelt_is_refused_with_the_right_one(store: Store) {
    let refused = Installation::of(store).with("AEGIS_LISTN", "127.0.0.1:0").run(&["serve"]).await;
    assert_eq!(refused.code, Some(1), "{refused:?}");
    assert!(refused.stderr.contains("AEGIS_LISTN") && refused.stderr.contains("AEGIS_LISTEN"), "{refused:?}");
}

async fn a_secret_key_that_is_too_short_is_refused(store: Store) {
    let refused =
        Installation::of(store).with("SECRET_KEY", "only thirty-one bytes, not more").run(&["serve"]).await;
    assert_eq!(refused.code, Some(1), "{refused:?}");
    assert!(refused.stderr.contains("SECRET_KEY") && refused.stderr.contains("32"), "{refused:?}");
    assert!(!refused.stderr.contains("thirty-one"), "the key is shown: {refused:?}");
}

async fn a_standalone_server_is_refused_with_the_command_that_converts_it() {
    let server = MongodServer::standalone().await;
    let refused = Installation::of(Store::at(&server.url())).run(&["serve"]).await;
    assert_eq!(refused.code, Some(1), "{refused:?}");
    assert!(refused.stderr.contains("--replSet") && refused.stderr.contains("rs.initiate"), "{refused:?}");
}

async fn without_its_keys_a_mongodb_is_refused() {
    let url = format!("mongodb://127.0.0.1:{}/?replicaSet=rs0", reserve_port());
    for missing in ["SECRET_KEY", "AEGIS_MASTER_KEY"] {
        let refused = Installation::of(Store::at(&url)).without(missing).run(&["serve"]).await;
        assert_eq!(refused.code, Some(1), "{refused:?}");
        assert!(refused.stderr.contains(missing), "{refused:?}");
    }
}

//! A rotation interrupted in the middle of a page.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use aegis::app::Database;
use async_trait::async_trait;
use serde_json::json;
use store::key_store::KeyId;
use store::rotation::{KeyReplacement, WrappedKey, WrappedKeyStore};
use store::{Env, MasterKey, MasterKeys, Rotation, StoreError, StreamId};

use super::{NEW_KEY, assert_all_log_in, assert_refused, key_summary, names, sign_up, status, with_keys};
use crate::support::{MASTER_KEY, Store, on_both_stores};

on_both_stores! {
    interrupted_rotation_is_resumed
}

/// A key store that fails after the first half of a page.
struct FailingKeyRecords(Arc<dyn WrappedKeyStore>, AtomicUsize);

#[async_trait]
impl WrappedKeyStore for FailingKeyRecords {
    async fn service_keys(&self) -> Result<BTreeMap<String, Vec<u8>>, StoreError> {
        self.0.service_keys().await
    }

    async fn count_keys(&self, known: &[KeyId]) -> Result<BTreeMap<Option<KeyId>, u64>, StoreError> {
        self.0.count_keys(known).await
    }

    async fn wrapped_keys(
        &self,
        after: Option<&StreamId>,
        limit: usize,
    ) -> Result<Vec<WrappedKey>, StoreError> {
        self.0.wrapped_keys(after, limit).await
    }

    async fn replace_keys(&self, changes: &[KeyReplacement]) -> Result<u64, StoreError> {
        let left = self.1.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |left| left.checked_sub(1));
        if left.is_err() {
            return Err(store::RefusalReason::Rejected {
                operation: "replacing keys".to_owned(),
                reason: "killed".to_owned(),
            }
            .into());
        }
        self.0.replace_keys(&changes[..changes.len() / 2]).await
    }

    async fn add_service_key(&self, name: &str, wrapped: &[u8]) -> Result<(), store::WriteError> {
        self.0.add_service_key(name, wrapped).await
    }

    async fn replace_service_key(&self, name: &str, from: &[u8], to: &[u8]) -> Result<(), store::WriteError> {
        self.0.replace_service_key(name, from, to).await
    }
}

fn both_keys() -> Arc<MasterKeys> {
    let [new, old] = [NEW_KEY, MASTER_KEY].map(|key| MasterKey::from_base64(key).unwrap());
    Arc::new(MasterKeys::new(new, [old]))
}

async fn interrupted_rotation_is_resumed(store: Store) {
    let mut first = with_keys(&store, &[MASTER_KEY]).serve().await;
    for name in names("user", 6) {
        sign_up(first.client(), &name).await.expect(201);
    }
    assert!(first.terminate().await.success());
    let keys = Database::connect(&store.settings()).await.unwrap().keys;
    let stopping = Arc::new(FailingKeyRecords(keys, AtomicUsize::new(1)));
    Rotation::new(stopping, both_keys(), Env::system()).run(&mut |_, _| {}).await.unwrap_err();

    // Both keys are needed.
    assert_refused(&with_keys(&store, &[NEW_KEY]), MASTER_KEY, "3 stream keys and the service key claims")
        .await;
    assert_refused(&with_keys(&store, &[MASTER_KEY]), NEW_KEY, "3 stream keys and the service key signing")
        .await;
    let both = with_keys(&store, &[NEW_KEY, MASTER_KEY]);
    assert_eq!(
        key_summary(&status(&both).await),
        [("current".to_owned(), 3, 1), ("previous".to_owned(), 3, 1)]
    );
    let service = both.serve().await;
    assert_all_log_in(service.client(), names("user", 6)).await;
    sign_up(service.client(), "another").await.expect(201);
    let done = both.json(&["keys", "rotate"]).await.remove(0);
    assert_eq!(
        (&done["streams"], &done["service_keys"], &done["complete"]),
        (&json!(3), &json!(["claims"]), &json!(true))
    );
    assert_eq!(key_summary(&status(&with_keys(&store, &[NEW_KEY])).await), [("current".to_owned(), 7, 2)]);
    both.run_ok(&["events", "verify"]).await;
}

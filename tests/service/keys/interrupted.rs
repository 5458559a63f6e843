//! A rotation that stopped in the middle of a page.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use aegis::app::Database;
use async_trait::async_trait;
use serde_json::json;
use store::rotation::{Rewrapped, Wrapped, WrappedKeys};
use store::vault::KeyId;
use store::{Ambient, MasterKey, MasterKeys, Rotation, StoreError, StreamId};

use super::{NEW_KEY, assert_all_log_in, assert_refused, names, sign_up, status, told, with_keys};
use crate::support::{MASTER_KEY, Store, on_both_stores};

on_both_stores! {
    an_interrupted_rotation_is_gone_on_with
}

/// Wrapped keys of which the first change alone is made.
struct Stopping(Arc<dyn WrappedKeys>, AtomicUsize);

#[async_trait]
impl WrappedKeys for Stopping {
    async fn service_keys(&self) -> Result<BTreeMap<String, Vec<u8>>, StoreError> {
        self.0.service_keys().await
    }

    async fn count_keys(&self, known: &[KeyId]) -> Result<BTreeMap<Option<KeyId>, u64>, StoreError> {
        self.0.count_keys(known).await
    }

    async fn wrapped_keys(&self, after: Option<&StreamId>, limit: usize) -> Result<Vec<Wrapped>, StoreError> {
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

//! Leases: one holder at a time, by the clock of the database, free again when the holder stops renewing.

use std::time::Duration;

use futures::future::join_all;
use serde_json::json;

use super::harness::{Harness, TIMEOUT};

const LONG: Duration = Duration::from_mins(10);
const SHORT: Duration = Duration::from_millis(300);

/// Of concurrent nodes one acquires the lease; the others learn its holder.
pub async fn concurrent_nodes_one_holds_the_lease(harness: &Harness) {
    let handles = [harness.open_migrated().await, harness.open_migrated().await];
    let names: Vec<_> = (0..6).map(|number| format!("node {number}")).collect();
    let report = json!({});
    let racers = names
        .iter()
        .enumerate()
        .map(|(number, name)| handles[number % 2].leases.acquire_lease("work", name, LONG, &report));
    let leases: Vec<_> = join_all(racers).await.into_iter().map(Result::unwrap).collect();
    assert!(leases.iter().all(|lease| lease.holder == leases[0].holder && lease.is_held()), "{leases:?}");
    let other = handles[0].leases.acquire_lease("other work", "node 9", LONG, &report).await.unwrap();
    assert_eq!(other.holder, "node 9", "leases are independent");
}

/// The holder renews the lease; when it stops or releases it, another node acquires it.
pub async fn expired_lease_is_free(harness: &Harness) {
    let leases = harness.open_migrated().await.leases;
    let take = async |holder: &str, term| {
        leases.acquire_lease("work", holder, term, &json!({"by": holder})).await.unwrap()
    };
    assert_eq!(take("ada", SHORT).await.holder, "ada");
    assert_eq!(take("ada", LONG).await.holder, "ada");
    tokio::time::sleep(SHORT).await;
    assert_eq!(take("bob", LONG).await.holder, "ada", "it was renewed");
    leases.release_lease("work", "bob", &json!({})).await.unwrap();
    assert_eq!(take("bob", LONG).await.holder, "ada", "only the holder can release it");
    leases.release_lease("work", "ada", &json!({"by": "ada", "at": "the end"})).await.unwrap();
    let free = leases.list_leases().await.unwrap().remove(0);
    assert_eq!((free.is_held(), free.report), (false, json!({"by": "ada", "at": "the end"})));
    assert_eq!(take("bob", SHORT).await.holder, "bob");
    // The lease expires by the database's clock, so poll.
    let taken = async {
        while take("ada", LONG).await.holder != "ada" {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(TIMEOUT, taken).await.unwrap();
    let held = leases.list_leases().await.unwrap();
    assert_eq!((held.len(), held[0].holder.as_str(), &held[0].report), (1, "ada", &json!({"by": "ada"})));
    assert!(held[0].remaining > LONG / 2 && held[0].remaining <= LONG, "{held:?}");
}

/// A lease that ends much later than a term from now was stamped by a clock that was ahead.
pub async fn lease_from_a_clock_ahead_is_free(harness: &Harness) {
    let leases = harness.open_migrated().await.leases;
    let report = json!({});
    let ahead = leases.acquire_lease("work", "ada", LONG + SHORT, &report).await.unwrap();
    assert_eq!(ahead.holder, "ada");
    let taken = leases.acquire_lease("work", "bob", SHORT, &report).await.unwrap();
    assert_eq!((taken.holder.as_str(), taken.remaining <= SHORT), ("bob", true), "{taken:?}");
}

//! `aegis events verify`: an untampered log passes; a truncated one, or one longer than its head, does not.

use super::sign_up;
use super::tampering::RawDatabase;
use crate::support::{Deployment, Store, on_both_stores};

on_both_stores! {
    untampered_log_verifies_beside_a_running_service
    rolled_back_head_is_detected
    truncated_log_fails_a_rebuild_instead_of_blocking_it
}

/// A deployment whose log has six events, of six users.
async fn six_events(store: Store) -> Deployment {
    let deployment = Deployment::of(store);
    let service = deployment.serve().await;
    for number in 0..6 {
        sign_up(service.client(), &format!("user{number}")).await;
    }
    service.kill();
    deployment
}

async fn untampered_log_verifies_beside_a_running_service(store: Store) {
    let deployment = six_events(store).await;
    let service = deployment.serve().await;
    let sign_ups = async {
        for number in 6..40 {
            sign_up(service.client(), &format!("user{number}")).await;
        }
    };
    let verifying = async {
        for _ in 0..3 {
            deployment.run_ok(&["events", "verify"]).await;
        }
    };
    tokio::join!(sign_ups, verifying);
    let report = deployment.json(&["events", "verify"]).await.remove(0);
    assert_eq!(
        (&report["position"], &report["streams"], &report["claims"]),
        (&40.into(), &40.into(), &80.into())
    );
    assert_eq!(report["root"].as_str().map(str::len), Some(64));
}

/// The missing event will never arrive: the rebuild fails and names it.
async fn truncated_log_fails_a_rebuild_instead_of_blocking_it(store: Store) {
    let deployment = six_events(store).await;
    let store = deployment.store();
    let mut log = RawDatabase::read(store).await;
    log.events.pop();
    log.write(store).await;
    let rebuilt = deployment.run(&["projections", "rebuild", "users"]).await;
    assert_eq!(rebuilt.code, Some(1), "{rebuilt:?}");
    assert!(
        rebuilt.stderr.contains("position 6 ") && rebuilt.stderr.contains("[missing_events]"),
        "{rebuilt:?}"
    );
}

/// The head is signed and matches the events up to its position, but the log has more.
async fn rolled_back_head_is_detected(store: Store) {
    let deployment = six_events(store).await;
    let earlier = RawDatabase::read(deployment.store()).await.head;
    let service = deployment.serve().await;
    sign_up(service.client(), "user6").await;
    service.kill();
    deployment.run_ok(&["events", "verify"]).await;
    let log = RawDatabase { head: earlier, ..RawDatabase::read(deployment.store()).await };
    log.write(deployment.store()).await;
    let found = deployment.run(&["events", "verify"]).await;
    assert_eq!(found.code, Some(3), "{found:?}");
    assert!(
        found.stderr.contains("position 7: ") && found.stderr.contains("[event_beyond_head]"),
        "{found:?}"
    );
}

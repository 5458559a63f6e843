//! `aegis events verify`: an honest log passes, and one that lacks its end, or that has more than its head says, does not.

use super::sign_up;
use super::tampering::Record;
use crate::support::{Installation, Store, on_both_stores};

on_both_stores! {
    an_honest_log_verifies_also_beside_a_service
    a_head_of_an_earlier_day_is_found
    a_log_without_its_end_is_not_waited_for
}

/// An installation whose log has six events, of six users.
async fn six_events(store: Store) -> Installation {
    let installation = Installation::of(store);
    let service = installation.serve().await;
    for number in 0..6 {
        sign_up(service.client(), &format!("user{number}")).await;
    }
    service.kill();
    installation
}

async fn an_honest_log_verifies_also_beside_a_service(store: Store) {
    let installation = six_events(store).await;
    let service = installation.serve().await;
    let sign_ups = async {
        for number in 6..40 {
            sign_up(service.client(), &format!("user{number}")).await;
        }
    };
    let verifying = async {
        for _ in 0..3 {
            installation.done(&["events", "verify"]).await;
        }
    };
    tokio::join!(sign_ups, verifying);
    let report = installation.json(&["events", "verify"]).await.remove(0);
    assert_eq!(
        (&report["position"], &report["streams"], &report["claims"]),
        (&40.into(), &40.into(), &80.into())
    );
    assert_eq!(report["root"].as_str().map(str::len), Some(64));
}

/// What is missing will never come: whoever rebuilds is told which event it is.
async fn a_log_without_its_end_is_not_waited_for(store: Store) {
    let installation = six_events(store).await;
    let store = installation.store();
    let mut log = Record::read(store).await;
    log.events.pop();
    log.write(store).await;
    let rebuilt = installation.run(&["projections", "rebuild", "users"]).await;
    assert_eq!(rebuilt.code, Some(1), "{rebuilt:?}");
    assert!(rebuilt.stderr.contains("position 6 is missing from the log"), "{rebuilt:?}");
}

/// It is signed and fits the events up to it; but there are more.
async fn a_head_of_an_earlier_day_is_found(store: Store) {
    let installation = six_events(store).await;
    let earlier = Record::read(installation.store()).await.head;
    let service = installation.serve().await;
    sign_up(service.client(), "user6").await;
    service.kill();
    installation.done(&["events", "verify"]).await;
    let log = Record { head: earlier, ..Record::read(installation.store()).await };
    log.write(installation.store()).await;
    let found = installation.run(&["events", "verify"]).await;
    assert_eq!(found.code, Some(3), "{found:?}");
    assert!(found.stderr.contains("position 7: it is beyond the head, which is at 6"), "{found:?}");
}

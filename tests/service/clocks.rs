//! Wrong clocks: of one node among others, of the machine of an embedded database, and what a log shows that a
//! wrong clock has stamped.

use std::sync::Arc;

use jiff::{SignedDuration, Timestamp};
use store::{Env, FindingKind, VerifyError};

use crate::support::{Store, TestApp, TestClock, metric, metrics, on_both_stores, sign_up_request};

on_both_stores! {
    clock_that_jumps_ahead_stamps_no_event
    head_in_the_future_is_reported
}

const TEN_YEARS: SignedDuration = SignedDuration::from_hours(10 * 365 * 24);

async fn gauge(app: &TestApp, name: &str) -> f64 {
    metric(&metrics(app).await, name).unwrap()
}

/// MongoDB stamps events by its own clock. An embedded database has none, so its writes wait for a right one.
async fn clock_that_jumps_ahead_stamps_no_event(store: Store) {
    let has_clock = store.mongo_address().is_some();
    let app = TestApp::start(store).await;
    let wrong = Arc::new(TestClock::default());
    let node = if has_clock { &app.start_second_node_with_clock(Arc::clone(&wrong)).await } else { &app };
    let clock = if has_clock { &wrong } else { &app.clock };
    node.sign_up("before").await;
    clock.set_ahead(TEN_YEARS);
    let signed_up = sign_up_request(node, "during").send().await;
    if has_clock {
        let created_at: Timestamp =
            signed_up.expect(201).json()["created_at"].as_str().unwrap().parse().unwrap();
        assert!(created_at < Env::system().now() + SignedDuration::from_mins(1), "{created_at}");
        assert!(gauge(node, "aegis_clock_offset_seconds").await > 1e8);
    } else {
        assert_eq!(signed_up.code(503), "clock_jumped");
        let readiness = node.readiness().await.expect(503).json();
        assert_eq!(readiness["clock"], "jumped", "{readiness}");
    }
    clock.set_ahead(SignedDuration::ZERO);
    node.sign_up("after").await;
    let readiness = app.readiness().await.expect(200).json();
    assert_eq!(readiness["clock"], "ok", "{readiness}");
}

/// A clock that was already wrong when the process started, or that of a primary, is believed.
async fn head_in_the_future_is_reported(store: Store) {
    let ahead = Arc::new(TestClock::default());
    ahead.set(Env::system().now() + SignedDuration::from_hours(1));
    let app = TestApp::start(store).await;
    app.sign_up("ada").await;
    assert!(gauge(&app, "aegis_log_head_time_ahead_seconds").await < 60.0);
    let node = app.start_second_node_with_clock(ahead).await;
    sign_up_request(&node, "bob").send().await.expect(201);
    let readiness = app.readiness().await.expect(503).json();
    assert_eq!(readiness["clock"], "head_in_future", "{readiness}");
    assert!(gauge(&app, "aegis_log_head_time_ahead_seconds").await > 3_000.0);
    let verified = app.services().proofs.verify(aegis::query::claim_change, None, &mut |_, _| {}).await;
    let Err(VerifyError::Found(finding)) = verified else { panic!("{verified:?}") };
    assert!(matches!(finding.kind, FindingKind::HeadInFuture { .. }), "{finding}");
}

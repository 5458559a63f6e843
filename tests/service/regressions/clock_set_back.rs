//! The clock is set back by an hour. Where order or revocation depend on time, events are skipped or
//! reordered (Occurrent #199, Axon), and revoked tokens become valid again.

use jiff::ToSpan;
use store::Env;

use crate::support::{PASSWORD, Store, TestApp, assert_no_gap, credentials, on_both_stores};

on_both_stores! {
    clock_set_back_an_hour_preserves_order_and_authorization
}

async fn clock_set_back_an_hour_preserves_order_and_authorization(store: Store) {
    let app = TestApp::start(store).await;
    let start = Env::system().now();
    app.clock.set(start);
    let (admin, ada) = (app.admin().await, app.sign_up("ada").await);
    let before = admin.whole_log().await.len();

    app.clock.set(start - 1.hour());
    // Tokens issued in the future and tokens issued now are valid.
    app.me(&ada.token).await.expect(200);
    let fresh = app.token_of(&ada.email).await;
    app.me(&fresh).await.expect(200);
    let twin = app.post("/auth/signup").json(&credentials("ada")).send().await;
    assert_eq!(twin.code(400), "email_taken");
    let bob = app.sign_up("bob").await;
    app.me(&bob.token).await.expect(200);

    // Revocation voids the tokens of both times permanently.
    admin.deactivate(&ada.id).send().await.expect(200);
    for token in [&ada.token, &fresh] {
        assert_eq!(app.me(token).await.code(403), "inactive_user");
    }
    admin.reactivate(&ada.id).send().await.expect(200);
    app.clock.set(start - 30.minutes());
    for token in [&ada.token, &fresh] {
        assert_eq!(app.me(token).await.code(403), "token_revoked");
    }
    app.log_in(&ada.email, PASSWORD).await.expect(200);
    app.clock.set(start + 1.second());
    app.sign_up("carol").await;

    let log = admin.whole_log().await;
    assert_no_gap(&log);
    let times: Vec<_> = log.iter().map(|event| event["time"].as_str().unwrap()).collect();
    assert!(times.is_sorted(), "{times:?}");
    let (last, meanwhile) = times[before..].split_last().unwrap();
    assert!(
        meanwhile.iter().all(|time| *time == times[before - 1]),
        "times increase although the clock was set back: {times:?}"
    );
    assert!(last > &times[before - 1], "times do not increase after the clock was corrected: {times:?}");
}

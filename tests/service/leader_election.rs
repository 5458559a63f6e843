//! Leader election: of several nodes on one database one runs the projectors, the others are standbys, and
//! all are ready.

use std::process::Command;
use std::sync::Arc;
use std::time::Duration;

use aegis::app::{Database, node_name};
use projections::report::LEASE;
use serde_json::Value;
use store::Env;
use store::leader_election::LEASE_TERM;
use tokio_util::task::AbortOnDropHandle;

use crate::projector::append_unknown_event;
use crate::support::{Store, TestApp, eventually, metric, metrics, on_both_stores};

on_both_stores! {
    leader_and_standby_are_ready_and_report_their_role
    standby_takes_over_from_a_stopping_node
    halted_projection_is_visible_in_the_metrics
    lease_of_a_dead_process_is_taken_over
    lease_of_a_living_process_is_not_taken_over
}

fn owner(projection: &str) -> String {
    format!("aegis_projection_owner{{projection=\"{projection}\"}}")
}

async fn await_users_leadership(app: &TestApp) {
    let keeps = async || (metric(&metrics(app).await, &owner("users")) == Some(1.0)).then_some(());
    eventually("the node to lead the projection `users`", keeps).await;
}

async fn assert_ready(app: &TestApp) {
    let body = app.readiness().await.expect(200).json();
    assert_eq!((&body["status"], &body["users"]), (&Value::from("ok"), &Value::from("ok")), "{body}");
}

async fn leader_and_standby_are_ready_and_report_their_role(store: Store) {
    let first = TestApp::start(store).await;
    await_users_leadership(&first).await;
    let second = first.start_second_node().await;
    first.sign_up("ada").await;
    let series = |name: &str| format!("aegis_projection_{name}{{projection=\"users\",version=\"1\"}}");
    for (node, keeps) in [(&first, 1.0), (&second, 0.0)] {
        assert_ready(node).await;
        let known = async || {
            let text = metrics(node).await;
            let lag = metric(&text, &series("lag_events"))?;
            (lag < 1.0 && metric(&text, &series("position"))? >= 1.0).then_some(text)
        };
        let text = eventually("the read model in the metrics", known).await;
        let shown = |series: &str| metric(&text, series).unwrap_or_else(|| panic!("{series} in {text}"));
        assert!((shown(&owner("users")) - keeps).abs() < 0.5, "{text}");
        assert!(shown(&series("live")) > 0.5 && shown(&series("lag_seconds")) < 0.001, "{text}");
        assert!(shown(&series("rate")) >= 0.0, "{text}");
        let state = |state: &str| {
            shown(&format!("aegis_projection_state{{projection=\"users\",version=\"1\",state=\"{state}\"}}"))
        };
        assert!(state("running") > 0.5 && state("halted") < 0.5, "{text}");
        let heartbeat = shown("aegis_projection_heartbeat_age_seconds{projection=\"users\"}");
        assert!((0.0..60.0).contains(&heartbeat), "{text}");
    }
}

async fn standby_takes_over_from_a_stopping_node(store: Store) {
    let first = TestApp::start(store).await;
    await_users_leadership(&first).await;
    let second = first.start_second_node().await;
    let ada = first.sign_up("ada").await;
    first.stopped().await;
    await_users_leadership(&second).await;
    assert_ready(&second).await;
    second.me(&ada.token).await.expect(200);
    let bob = second.sign_up("bob").await;
    second.me(&bob.token).await.expect(200);
}

async fn halted_projection_is_visible_in_the_metrics(store: Store) {
    let app = TestApp::start(store).await;
    let ada = app.sign_up("ada").await;
    append_unknown_event(&app, &ada.id).await;
    let series = |name: &str, more: &str| {
        format!("aegis_projection_{name}{{projection=\"users\",version=\"1\"{more}}}")
    };
    let halted = async || {
        let text = metrics(&app).await;
        (metric(&text, &series("state", ",state=\"halted\"")) == Some(1.0)).then_some(text)
    };
    let text = eventually("the halt", halted).await;
    assert_eq!(metric(&text, &series("lag_events", "")), Some(1.0), "{text}");
    let aging = async || metric(&metrics(&app).await, &series("lag_seconds", "")).filter(|age| *age > 0.0);
    eventually("the event to age", aging).await;
    assert_eq!(metric(&text, &series("state", ",state=\"running\"")), Some(0.0), "{text}");
}

/// The name of a node on this machine whose process has ended.
fn dead_node() -> String {
    let mut ended = Command::new("true").spawn().unwrap();
    ended.wait().unwrap();
    let (mine, theirs) = (format!(":{}:", std::process::id()), format!(":{}:", ended.id()));
    node_name(&Env::system()).replacen(&mine, &theirs, 1)
}

/// Renews the lease of the projector every 200 ms for a holder, until dropped.
fn hold_projector_lease(database: &Database, holder: String) -> AbortOnDropHandle<()> {
    let leases = Arc::clone(&database.leases);
    AbortOnDropHandle::new(tokio::spawn(async move {
        loop {
            drop(leases.acquire_lease(LEASE, &holder, LEASE_TERM, &Value::Null).await);
            tokio::time::sleep(Duration::from_millis(200)).await;
        }
    }))
}

/// A service that starts while another holder has the lease of the projector, and keeps renewing it.
async fn start_beside(store: Store, holder: &str) -> (TestApp, AbortOnDropHandle<()>) {
    let database = Database::connect(&TestApp::settings_of(&store).database).await.unwrap();
    // Creates the tables and releases the lease.
    TestApp::start(store.clone()).await.stopped().await;
    let lease = database.leases.acquire_lease(LEASE, holder, LEASE_TERM, &Value::Null).await.unwrap();
    assert_eq!(lease.holder, *holder);
    let holding = hold_projector_lease(&database, holder.to_owned());
    (TestApp::start(store).await, holding)
}

async fn lease_of_a_dead_process_is_taken_over(store: Store) {
    let (app, _holding) = start_beside(store, &dead_node()).await;
    await_users_leadership(&app).await;
    app.sign_up("ada").await;
}

async fn lease_of_a_living_process_is_not_taken_over(store: Store) {
    let (app, _holding) = start_beside(store, &node_name(&Env::system())).await;
    let reported = "aegis_projection_heartbeat_age_seconds{projection=\"users\"}";
    eventually("the lease of the other node", async || metric(&metrics(&app).await, reported)).await;
    assert_eq!(metric(&metrics(&app).await, &owner("users")), Some(0.0));
}

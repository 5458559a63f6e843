//! Freshness: rows that lack an event of their user are never trusted, and a node whose read model is behind is
//! not ready.

use std::sync::Arc;
use std::time::Duration;

use aegis::query::QueryError;
use domain::{Role, UserCommand};
use projections::{Daily, Projection, Users, Webhooks};
use store::{Position, ProjectionCheckpoint};
use tokio::time::{Instant, sleep};

use crate::projector::append_unknown_event;
use crate::support::{Store, TestApp, eventually, on_both_stores};

on_both_stores! {
    partial_catch_up_never_revives_a_revoked_token
    read_model_behind_by_five_seconds_is_not_ready
    service_without_any_projector_is_not_ready
    rows_of_a_removed_table_are_no_answer
    user_with_a_skipped_event_is_served_while_others_wait
}

/// Two nodes of which none projects any more, and users that the first one has projected.
async fn stopped_projector(store: Store) -> TestApp {
    let app = TestApp::start(store).await;
    for name in ["ada", "bob"] {
        app.sign_up(name).await;
    }
    let idle = TestApp::start_without_projector(app.store().clone()).await;
    eventually("the rows to be known", async || {
        let head = idle.head().await;
        let applied = idle.services().store.progress().applied_position("users_1").get();
        (applied >= head).then_some(())
    })
    .await;
    app.stopped().await;
    idle
}

/// Moves the checkpoint of `users` as a projector does that has applied events of other users.
async fn apply_without_changes(app: &TestApp, to: u64) {
    let (users, rows): (&dyn Projection, _) = (&Users, &app.services().projection_context.rows);
    let table = users.table(1);
    let from = rows.checkpoint(&table).await.unwrap();
    let to = ProjectionCheckpoint { position: Position::new(to), ..from };
    rows.apply(&table, from, to, Vec::new()).await.unwrap();
}

async fn partial_catch_up_never_revives_a_revoked_token(store: Store) {
    let app = stopped_projector(store).await;
    let (ada, bob) = (app.token_of("ada@example.com").await, app.token_of("bob@example.com").await);
    let id = app.me(&ada).await.expect(200).json()["id"].as_str().unwrap().to_owned();
    let other = app.me(&bob).await.expect(200).json()["id"].as_str().unwrap().to_owned();
    app.command(&other, UserCommand::GrantRole { role: Role::Auditor }).await;
    let waiting = app.head().await;
    app.command(&id, UserCommand::Deactivate { reason: None }).await;
    assert_ne!(app.me(&ada).await.status(), 200, "while the rows are behind");
    // What was waiting when the lag began is applied; the deactivation is not.
    apply_without_changes(&app, waiting).await;
    let caught_up = Instant::now();
    while caught_up.elapsed() < Duration::from_millis(1_500) {
        assert_ne!(app.me(&ada).await.status(), 200, "{:?} after a partial catch-up", caught_up.elapsed());
    }
}

async fn read_model_behind_by_five_seconds_is_not_ready(store: Store) {
    let app = stopped_projector(store).await;
    let id = {
        let bob = app.token_of("bob@example.com").await;
        app.me(&bob).await.expect(200).json()["id"].as_str().unwrap().to_owned()
    };
    // Another node holds the lease, but applies nothing.
    let leases = Arc::clone(&app.services().projection_context.leases);
    let term = store::leader_election::LEASE_TERM;
    let holding = tokio::spawn(async move {
        loop {
            let report = serde_json::Value::Null;
            drop(leases.acquire_lease(projections::report::LEASE, "stuck", term, &report).await);
            sleep(Duration::from_millis(500)).await;
        }
    });
    app.command(&id, UserCommand::GrantRole { role: Role::Auditor }).await;
    let unready = eventually("the lag to be noticed", async || {
        Some(app.readiness().await).filter(|it| it.status() == 503)
    });
    let body = unready.await.json();
    assert_eq!((&body["users"], &body["lag"]), (&"behind".into(), &1.into()), "{body}");
    holding.abort();
}

async fn service_without_any_projector_is_not_ready(store: Store) {
    let app = stopped_projector(store).await;
    let unready = async || Some(app.readiness().await).filter(|answer| answer.status() == 503);
    let body = eventually("the missing projector to be noticed", unready).await.json();
    assert_eq!((&body["users"], &body["lag"]), (&"stopped".into(), &0.into()), "{body}");
}

async fn rows_of_a_removed_table_are_no_answer(store: Store) {
    let app = stopped_projector(store).await;
    let context = &app.services().projection_context;
    let removed: [&'static dyn Projection; 2] = [&Daily, &Webhooks];
    for projection in removed {
        context.rows.remove(&projection.table(1)).await.unwrap();
    }
    // Empty pages of a table that is gone are not zeros.
    let stats = app.services().stats.clone();
    assert!(matches!(stats.all(None, None).await, Err(QueryError::Behind { name: "daily", .. })));
    let webhooks = app.services().webhook_rows.page(None, 10).await;
    assert!(matches!(webhooks, Err(QueryError::Behind { name: "webhooks", .. })));
}

async fn user_with_a_skipped_event_is_served_while_others_wait(store: Store) {
    let app = stopped_projector(store).await;
    let (ada, bob) = (app.token_of("ada@example.com").await, app.token_of("bob@example.com").await);
    let [ada, other] = [app.me(&ada).await, app.me(&bob).await]
        .map(|answer| answer.expect(200).json()["id"].as_str().unwrap().to_owned());
    // The checkpoint passes the event, the version of the row does not.
    let skipped = append_unknown_event(&app, &other).await;
    apply_without_changes(&app, skipped).await;
    app.command(&ada, UserCommand::GrantRole { role: Role::Auditor }).await;
    app.me(&bob).await.expect(200);
    // A later event of the user still counts.
    append_unknown_event(&app, &other).await;
    assert_eq!(app.me(&bob).await.code(503), "projection_behind");
}

//! What holds deliveries up: damaged keys, read models that are behind, and a log that was restored.

use std::sync::Arc;

use domain::{Role, UserCommand};
use serde_json::{Value, json};
use store::{Append, DeliveryStore, Env, ExpectedVersion, NewEvent, StreamId, StreamWrite};

use super::{Webhook, sign_ups};
use crate::support::{
    Deployment, MASTER_KEY, ReceivedDelivery, Reply, Store, TestApp, User, WebhookReceiver, captured_logs,
    eventually, on_both_stores,
};

on_both_stores! {
    damaged_key_store_entry_affects_one_webhook
    webhook_waiting_for_its_owner_in_the_read_model_says_so
    webhook_missing_in_the_read_model_says_so
    cursor_beyond_a_restored_log_is_held_until_the_restore_is_recorded
    resume_continues_at_the_end_of_a_restored_log
    restore_is_not_recorded_beside_a_running_service
}

async fn damaged_key_store_entry_affects_one_webhook(store: Store) {
    let app = TestApp::start(store.clone()).await;
    let (unreached, receiver) = (WebhookReceiver::start().await, WebhookReceiver::start().await);
    let (ada, admin) = (app.user_with(Role::Subscriber).await, app.admin().await);
    let eve = app.sign_up("eve").await;
    let damaged = Webhook::register(&ada, &unreached, 0).await;
    let intact = Webhook::register(&ada, &receiver, 0).await;
    app.stopped().await;
    // The webhook that was registered first, and a user whose events are delivered.
    store.damage_key_entry(&format!("webhook-{}", damaged.id)).await;
    store.damage_key_entry(&format!("user-{}", eve.id)).await;
    let app = TestApp::start(store).await;
    let sent_before = unreached.deliveries().len();
    let last = sign_ups(&app, "user", 2).await;
    let accepted = receiver.wait_for_accepted(usize::try_from(last).unwrap()).await;
    assert_eq!(
        accepted.iter().map(ReceivedDelivery::position).collect::<Vec<_>>(),
        (1..=last).collect::<Vec<_>>()
    );
    let (ada, admin) = (ada.at(&app), admin.at(&app));
    for reader in [&ada, &admin] {
        let shown = reader.get("/webhooks").send().await.expect(200).json();
        assert_eq!(state_of(&shown, &damaged.id), "unreadable", "{shown}");
        assert_eq!(state_of(&shown, &intact.id), "active", "{shown}");
    }
    let id = damaged.id.clone();
    eventually("a log line", async || {
        captured_logs()
            .lines()
            .any(|line| line.contains("WARN") && line.contains(&id) && line.contains("cannot be decrypted"))
            .then_some(())
    })
    .await;
    assert_eq!(unreached.deliveries().len(), sent_before);
    ada.delete(&format!("/webhooks/{id}")).send().await.expect(204);
    let left = ada.get("/webhooks").send().await.expect(200).json();
    assert_eq!(left["webhooks"].as_array().unwrap().len(), 1, "{left}");
}

/// The state of a webhook in a list.
fn state_of(list: &Value, id: &str) -> String {
    let webhooks = list["webhooks"].as_array().unwrap().iter();
    let found: Vec<_> = webhooks.filter(|webhook| webhook["id"] == id).collect();
    assert_eq!(found.len(), 1, "{list}");
    found[0]["state"].as_str().unwrap().to_owned()
}

/// Appends an event that no projection of its stream can process.
pub(super) async fn halt_projection_of(app: &TestApp, stream: &str) {
    let event = NewEvent {
        id: Env::system().uuid(),
        event_type: "Teleported".to_owned(),
        schema: 1,
        data: serde_json::Map::new(),
        personal: serde_json::Map::new(),
    };
    let stream = StreamId::new(stream).unwrap();
    let writes = vec![StreamWrite::new(stream, ExpectedVersion::Any, vec![event])];
    app.services().store.append(&Append::new("system", "test", writes)).await.unwrap();
}

/// Waits until `reader` is shown this state, and returns what the answer says.
async fn wait_for_state(reader: &User, webhook: &Webhook<'_>, state: &str) -> Value {
    eventually(state, async || {
        let shown = reader.get(&format!("/webhooks/{}", webhook.id)).send().await.expect(200).json();
        (shown["state"] == state).then_some(shown)
    })
    .await
}

async fn webhook_waiting_for_its_owner_in_the_read_model_says_so(store: Store) {
    let app = TestApp::start(store).await;
    let (receiver, healthy) = (WebhookReceiver::start().await, WebhookReceiver::start().await);
    let (ada, admin) = (app.user_with(Role::Subscriber).await, app.admin().await);
    let other = app.sign_up("other").await;
    let waiting = Webhook::register(&ada, &receiver, 0).await;
    let registered = app.head().await;
    receiver.wait_for_accepted(usize::try_from(registered).unwrap()).await;
    Webhook::register(&admin, &healthy, registered).await;
    halt_projection_of(&app, &format!("user-{}", other.id)).await;
    // The row of the first owner will lack this event; that of the other one lacks nothing.
    app.command(&ada.id, UserCommand::GrantRole { role: Role::Auditor }).await;
    let shown = wait_for_state(&admin, &waiting, "waiting").await;
    assert_eq!(shown["waiting"], "users", "{shown}");
    let head = app.head().await;
    let delivered = healthy.wait_for_accepted(usize::try_from(head - registered).unwrap()).await;
    assert_eq!(delivered.last().unwrap().position(), head, "the other webhook waits for nothing");
    let second = app.start_second_node().await;
    let shown = wait_for_state(&admin.at(&second), &waiting, "waiting").await;
    assert_eq!(shown["waiting"], "users", "on another node: {shown}");
    let deployment = Deployment::of(app.store().clone()).with("AEGIS_MASTER_KEY", MASTER_KEY);
    let table = deployment.run_ok(&["webhooks", "list"]).await.stdout;
    assert!(table.contains("waiting (users)"), "{table}");
    eventually("the metric", async || {
        let metrics = [&app, &second].map(|node| node.get("/metrics").send());
        for metrics in metrics {
            let text = metrics.await.expect(200).text();
            if text.lines().any(|line| line == r#"aegis_webhooks{state="waiting"} 1"#) {
                return Some(());
            }
        }
        None
    })
    .await;
}

async fn webhook_missing_in_the_read_model_says_so(store: Store) {
    let app = TestApp::start(store).await;
    let (receiver, ada) = (WebhookReceiver::start().await, app.user_with(Role::Subscriber).await);
    let webhook = Webhook::register(&ada, &receiver, 0).await;
    let idle = Webhook::of(&ada, &json!({"url": receiver.url("127.0.0.1"), "types": ["UserImported"]})).await;
    receiver.set_default_reply(Reply::Status(410));
    sign_ups(&app, "user", 1).await;
    wait_for_state(&ada, &webhook, "suspended").await;
    receiver.set_default_reply(Reply::Status(204));
    halt_projection_of(&app, &format!("webhook-{}", idle.id)).await;
    webhook.post("resume").send().await.expect(200);
    let shown = wait_for_state(&ada, &webhook, "waiting").await;
    assert_eq!(shown["waiting"], "webhooks", "{shown}");
}

/// Moves the cursor of a webhook beyond the end of the log, as after restoring a backup of the log alone.
async fn move_cursor(deliveries: &dyn DeliveryStore, id: &str, to: u64) {
    let stream = StreamId::new(format!("webhook-{id}")).unwrap();
    let mut progress = deliveries.progress(&stream).await.unwrap().unwrap();
    progress.revision += 1;
    for field in ["position", "previous"] {
        progress.state[field] = to.into();
    }
    deliveries.record(&stream, &progress, &[]).await.unwrap();
}

/// A stopped service with a webhook that has received everything, and whose cursor is beyond the log by `more`.
async fn stopped_beyond_the_log(store: &Store, more: u64) -> (WebhookReceiver, User, String, u64) {
    let app = TestApp::start(store.clone()).await;
    let (receiver, ada) = (WebhookReceiver::start().await, app.user_with(Role::Subscriber).await);
    let id = Webhook::register(&ada, &receiver, 0).await.id;
    let head = app.head().await;
    receiver.wait_for_accepted(usize::try_from(head).unwrap()).await;
    let deliveries = Arc::clone(&app.services().deliveries);
    app.stopped().await;
    move_cursor(&*deliveries, &id, head + more).await;
    (receiver, ada, id, head)
}

async fn cursor_beyond_a_restored_log_is_held_until_the_restore_is_recorded(store: Store) {
    let (receiver, ada, id, head) = stopped_beyond_the_log(&store, 2).await;
    let app = TestApp::start(store.clone()).await;
    let at = ada.at(&app);
    wait_for_state(&at, &Webhook::existing(&at, &id), "ahead_of_log").await;
    let line = |line: &str| line.contains("ERROR") && line.contains(&id) && line.contains("beyond the end");
    eventually("a log line", async || captured_logs().lines().any(line).then_some(())).await;
    // The log grows past the cursor: still nothing is delivered, since two events would be missing.
    let last = sign_ups(&app, "user", 4).await;
    assert!(last > head + 2);
    wait_for_state(&at, &Webhook::existing(&at, &id), "ahead_of_log").await;
    assert_eq!(receiver.deliveries().len(), usize::try_from(head).unwrap());
    app.stopped().await;
    let deployment = Deployment::of(store.clone()).with("AEGIS_MASTER_KEY", MASTER_KEY);
    let output = eventually("the leases to expire", async || {
        let restored = deployment.run(&["events", "restored", "--yes"]).await;
        (restored.code == Some(0)).then_some(restored.stdout)
    })
    .await;
    assert!(output.contains("1 webhook cursors were beyond its end"), "{output}");
    let app = TestApp::start(store).await;
    let accepted = receiver.wait_for_accepted(usize::try_from(last).unwrap()).await;
    assert_eq!(
        accepted.iter().map(ReceivedDelivery::position).collect::<Vec<_>>(),
        (1..=last).collect::<Vec<_>>()
    );
    let (before, after) = accepted.split_at(usize::try_from(head).unwrap());
    assert!(before.iter().all(|delivery| delivery.json()["epoch"] == 1));
    let mut ada = ada.at(&app);
    assert_eq!(app.me(&ada.token).await.code(403), "invalid_token", "a token from before the restore");
    ada.token = app.token_of(&ada.email).await;
    let page = ada.get("/events?limit=1000").send().await.expect(200).json();
    let epoch = page["epoch"].as_u64().unwrap();
    assert!(epoch > 1, "{page}");
    assert!(after.iter().all(|delivery| delivery.json()["epoch"] == epoch));
    assert_eq!((&after[0].json()["previous"], &page["events"][0]["epoch"]), (&head.into(), &epoch.into()));
    let source = page["events"][0]["source"].as_str().unwrap();
    assert_eq!(source, format!("/aegis/{}", page["log"].as_str().unwrap()));
}

async fn resume_continues_at_the_end_of_a_restored_log(store: Store) {
    let (receiver, ada, id, head) = stopped_beyond_the_log(&store, 3).await;
    let app = TestApp::start(store).await;
    let at = ada.at(&app);
    let webhook = Webhook::existing(&at, &id);
    wait_for_state(&at, &webhook, "ahead_of_log").await;
    webhook.post("resume").send().await.expect(200);
    let accepted = receiver.wait_for_accepted(usize::try_from(head + 1).unwrap()).await;
    let resumed = accepted.last().unwrap().json();
    assert_eq!((&resumed["position"], &resumed["previous"]), (&(head + 1).into(), &head.into()));
    wait_for_state(&at, &webhook, "active").await;
}

async fn restore_is_not_recorded_beside_a_running_service(store: Store) {
    let app = TestApp::start(store.clone()).await;
    app.sign_up("ada").await;
    let deployment = Deployment::of(store).with("AEGIS_MASTER_KEY", MASTER_KEY);
    let refused = deployment.run(&["events", "restored", "--yes"]).await;
    assert!(refused.code == Some(1) && refused.stderr.contains("stop every service"), "{refused:?}");
    let page = app.admin().await.get("/events").send().await.expect(200).json();
    assert_eq!(page["epoch"], 1);
}

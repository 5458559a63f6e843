//! The task that watches the log has died or receives nothing, but the service reports healthy (Marten #4961:
//! a dead high-water agent was reported healthy). Here the change stream cannot be opened and the log cannot
//! be polled on the connections for watching; everything else works.

use mongodb::bson::{Document, doc};
use serde_json::json;
use testkit::{FailPoint, FailPointMode, MongodServer};

use crate::support::{Store, TestApp, eventually, on_one_store};

on_one_store! { mongo:
    dead_change_stream_is_not_reported_healthy
    service_without_change_stream_falls_back_to_polling
}

/// A fail point for the commands by which a service watches the log.
fn failing_stream(commands: &[&str]) -> Document {
    doc! { "failCommands": commands, "appName": "aegis-watch", "errorCode": 13 }
}

/// Two services on a separate server. The second one has no projectors, so it depends on watching.
async fn two_nodes(server: &MongodServer) -> [TestApp; 2] {
    let app = TestApp::start(Store::at(&server.url())).await;
    let idle = TestApp::start_without_projector(app.store().clone()).await;
    [app, idle]
}

async fn dead_change_stream_is_not_reported_healthy() {
    let server = MongodServer::replica_set().await;
    let [app, idle] = two_nodes(&server).await;
    let user = app.sign_up("ada").await;
    app.readiness().await.expect(200);
    let commands = ["find", "aggregate", "getMore", "listCollections"];
    let fail_point = FailPoint::command(&server, FailPointMode::Always, failing_stream(&commands)).await;
    for node in [&app, &idle] {
        let unready = async || Some(node.readiness().await).filter(|answer| answer.status() == 503);
        let body = eventually("the dead change stream to be noticed", unready).await.json();
        assert_eq!((&body["feed"], &body["database"]), (&json!("silent"), &json!("ok")), "{body}");
        node.get("/health").send().await.expect(200);
        node.me(&user.token).await.expect(200);
    }
    fail_point.clear().await;
    for node in [&app, &idle] {
        eventually("readiness", async || {
            Some(node.readiness().await).filter(|answer| answer.status() == 200)
        })
        .await;
    }
    idle.sign_up("bob").await;
}

async fn service_without_change_stream_falls_back_to_polling() {
    let server = MongodServer::replica_set().await;
    let [app, idle] = two_nodes(&server).await;
    let fail_point =
        FailPoint::command(&server, FailPointMode::Always, failing_stream(&["aggregate", "getMore"])).await;
    fail_point.wait_for_hits(4).await;
    for number in 0..5 {
        // The other node projects it, and this one notices within two seconds.
        let user = idle.sign_up(&format!("user{number}")).await;
        idle.me(&user.token).await.expect(200);
        app.me(&user.token).await.expect(200);
    }
    for node in [&app, &idle] {
        assert_eq!(node.readiness().await.expect(200).json()["feed"], "ok");
    }
    fail_point.clear().await;
}

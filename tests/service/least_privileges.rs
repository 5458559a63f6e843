//! The service on a MongoDB with authentication, as a user with the privileges that `docs/operations.md`
//! names.

use mongodb::Client;
use mongodb::bson::{Document, doc};
use serde_json::json;
use testkit::MongodServer;

use crate::support::{PASSWORD, Store, TestApp, on_one_store};

on_one_store! { mongo: service_needs_no_more_than_its_own_database }

async fn service_needs_no_more_than_its_own_database() {
    let mut server = MongodServer::replica_set().await;
    let users = Client::with_uri_str(server.url()).await.unwrap().database("aegis");
    let roles = vec![doc! { "role": "readWrite", "db": "aegis" }];
    users.run_command(doc! { "createUser": "aegis", "pwd": "secret", "roles": roles }).await.unwrap();
    server.require_authentication().await;
    let anonymous = Client::with_uri_str(server.url()).await.unwrap().database("aegis");
    let refused = anonymous.collection::<Document>("meta").find_one(doc! {}).await;
    refused.expect_err("authentication is required");

    let options = "replicaSet=rs0&authSource=aegis";
    let url = format!("mongodb://aegis:secret@127.0.0.1:{}/?{options}", server.port());
    let app = TestApp::start(Store::at(&url)).await;
    let (admin, ada) = (app.admin().await, app.sign_up("ada").await);
    ada.get("/users/me").send().await.expect(200);
    app.log_in(&ada.email, PASSWORD).await.expect(200);
    // The change stream notifies another node of the commit.
    let other = app.start_second_node().await;
    admin.deactivate(&ada.id).send().await.expect(200);
    let head = app.head().await;
    let mut progress = other.services().store.watch_progress();
    progress.wait_for(|progress| progress.head.get() >= head).await.unwrap();
    assert_eq!(ada.at(&other).get("/users/me").send().await.code(403), "inactive_user");
    // Rebuilding creates and drops collections, and their indexes.
    admin.post("/projections/users/rebuild").json(&json!({})).send().await.expect(202);
    app.services().proofs.verify(aegis::query::claim_change, None, &mut |_, _| {}).await.unwrap();
    aegis::authority::verify(&app.services().store).await.unwrap();
    other.stopped().await;
    app.stopped().await;
}

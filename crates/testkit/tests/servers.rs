//! Tests of the servers that the testkit provides.

#![cfg(test)]

use std::time::{Duration, Instant};

use mongodb::Client;
use mongodb::bson::{Document, doc};
use mongodb::options::{Acknowledgment, WriteConcern};
use testkit::{FailPoint, FailPointMode, MongodServer, ReplicaSet, reserve_port, shared_mongodb as shared};

async fn hello(url: &str) -> Document {
    let client = Client::with_uri_str(url).await.unwrap();
    client.database("admin").run_command(doc! { "hello": 1 }).await.unwrap()
}

async fn insert(url: &str, number: i32) {
    let client = Client::with_uri_str(url).await.unwrap();
    let majority = WriteConcern::builder().w(Acknowledgment::Majority).journal(true).build();
    let numbers = client.database("testkit").collection::<Document>("numbers");
    numbers.insert_one(doc! { "_id": number }).write_concern(majority).await.unwrap();
}

async fn count(url: &str) -> u64 {
    let client = Client::with_uri_str(url).await.unwrap();
    client.database("testkit").collection::<Document>("numbers").count_documents(doc! {}).await.unwrap()
}

#[tokio::test]
async fn shared_server_is_reused_and_supports_transactions() {
    let (one, two) = (shared().await, shared().await);
    assert_eq!(one.url(), two.url());
    let database = one.database();
    let client = Client::with_uri_str(database.url()).await.unwrap();
    let things = client.database(database.name()).collection::<Document>("things");
    let mut session = client.start_session().await.unwrap();
    session.start_transaction().await.unwrap();
    things.insert_one(doc! { "_id": 1 }).session(&mut session).await.unwrap();
    session.commit_transaction().await.unwrap();
    assert_eq!(things.count_documents(doc! {}).await.unwrap(), 1);
}

#[tokio::test]
async fn databases_have_unique_names_and_are_dropped() {
    let mongo = shared().await;
    let (retained, dropped) = (mongo.database(), mongo.database());
    assert_ne!(retained.name(), dropped.name());
    assert!(retained.name().starts_with("aegis_test_"));
    let client = Client::with_uri_str(mongo.url()).await.unwrap();
    for database in [&retained, &dropped] {
        client.database(database.name()).collection("things").insert_one(doc! {}).await.unwrap();
    }
    let dropped_name = dropped.name().to_owned();
    drop(dropped);
    let deadline = Instant::now() + Duration::from_secs(30);
    loop {
        let names = client.list_database_names().await.unwrap();
        assert!(names.iter().any(|name| name == retained.name()));
        if !names.contains(&dropped_name) {
            break;
        }
        assert!(Instant::now() < deadline, "{dropped_name} still exists");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

#[tokio::test]
async fn acknowledged_writes_survive_kill_and_stop() {
    let mut server = MongodServer::replica_set().await;
    insert(&server.url(), 1).await;
    server.kill();
    assert_eq!(server.pid(), None);
    server.restart().await;
    assert_eq!(count(&server.url()).await, 1);
    insert(&server.url(), 2).await;
    server.stop();
    server.restart().await;
    assert_eq!(count(&server.url()).await, 2);
}

#[tokio::test]
async fn standalone_is_not_in_a_replica_set() {
    let server = MongodServer::standalone().await;
    let answer = hello(&server.url()).await;
    assert!(!answer.contains_key("setName"), "{answer}");
    assert!(!answer.contains_key("isreplicaset"), "{answer}");
}

#[tokio::test]
async fn server_can_start_on_a_reserved_port() {
    let port = reserve_port();
    let server = MongodServer::replica_set_on(port).await;
    assert_eq!(server.port(), port);
    assert!(hello(&server.url()).await.get_bool("isWritablePrimary").unwrap());
}

#[tokio::test]
async fn fail_points_trigger_as_configured_and_count_hits() {
    let server = MongodServer::replica_set().await;
    let client = Client::with_uri_str(server.url()).await.unwrap();
    let ping = async || client.database("admin").run_command(doc! { "ping": 1 }).await;
    let data = || doc! { "failCommands": ["ping"], "errorCode": 91 };
    let once = FailPoint::command(&server, FailPointMode::Times(1), data()).await;
    let error = ping().await.unwrap_err();
    assert!(error.to_string().contains("91"), "{error}");
    once.wait_for_hits(1).await;
    ping().await.unwrap();
    assert_eq!(once.clear().await, 1);
    let always = FailPoint::command(&server, FailPointMode::Always, data()).await;
    for _ in 0..3 {
        ping().await.unwrap_err();
    }
    assert_eq!(always.clear().await, 3);
    ping().await.unwrap();
}

#[tokio::test]
async fn killed_primary_is_replaced() {
    let mut set = ReplicaSet::of(3).await;
    insert(&set.url(), 1).await;
    let killed = set.kill_primary().await;
    assert_ne!(set.primary().await, killed);
    insert(&set.url(), 2).await;
    set.members()[killed].restart().await;
    assert_eq!(count(&set.url()).await, 2);
}

#[tokio::test]
async fn stepped_down_paused_or_isolated_primary_is_replaced() {
    let mut set = ReplicaSet::of(3).await;
    insert(&set.url(), 1).await;
    let old = set.step_down().await;
    set.wait_for_new_primary(old).await;

    let old = set.wait_until_healthy().await;
    set.members()[old].pause();
    set.wait_for_new_primary(old).await;
    set.members()[old].resume();

    let old = set.wait_until_healthy().await;
    set.isolate(old);
    set.wait_for_new_primary(old).await;
    insert(&set.url(), 2).await;
    set.heal();

    let old = set.wait_until_healthy().await;
    set.isolate_from_members(old);
    set.wait_for_new_primary(old).await;
    // Clients still reach the partitioned member, which has stepped down.
    let address =
        set.url().split(['/', ',']).filter(|part| part.contains(':')).nth(old + 1).map(str::to_owned);
    let alone = format!("mongodb://{}/?directConnection=true", address.unwrap());
    assert!(!hello(&alone).await.get_bool("isWritablePrimary").unwrap());
    insert(&set.url(), 3).await;
    set.heal();
    set.wait_until_healthy().await;
    assert_eq!(count(&set.url()).await, 3);
}

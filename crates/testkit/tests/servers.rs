//! What the testkit promises to other tests.

#![cfg(test)]

use std::time::{Duration, Instant};

use mongodb::Client;
use mongodb::bson::{Document, doc};
use mongodb::options::{Acknowledgment, WriteConcern};
use testkit::{FailPoint, Failing, MongodServer, ReplicaSet, mongodb as shared, reserve_port};

async fn hello(url: &str) -> Document {
    let client = Client::with_uri_str(url).await.unwrap();
    client.database("admin").run_command(doc! { "hello": 1 }).await.unwrap()
}

async fn insert(url: &str, number: i32) {
    let client = Client::with_uri_str(url).await.unwrap();
    let majority = WriteConcern::builder().w(Acknowledgment::Majority).journal(true).build();
    let numbers = client.database("kept").collection::<Document>("numbers");
    numbers.insert_one(doc! { "_id": number }).write_concern(majority).await.unwrap();
}

async fn count(url: &str) -> u64 {
    let client = Client::with_uri_str(url).await.unwrap();
    client.database("kept").collection::<Document>("numbers").count_documents(doc! {}).await.unwrap()
}

#[tokio::test]
async fn the_shared_server_is_one_and_takes_transactions() {
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
async fn every_database_has_its_own_name_and_is_dropped() {
    let mongo = shared().await;
    let (kept, dropped) = (mongo.database(), mongo.database());
    assert_ne!(kept.name(), dropped.name());
    assert!(kept.name().starts_with("aegis_test_"));
    let client = Client::with_uri_str(mongo.url()).await.unwrap();
    for database in [&kept, &dropped] {
        client.database(database.name()).collection("things").insert_one(doc! {}).await.unwrap();
    }
    let gone = dropped.name().to_owned();
    drop(dropped);
    let deadline = Instant::now() + Duration::from_secs(30);
    loop {
        let names = client.list_database_names().await.unwrap();
        assert!(names.iter().any(|name| name == kept.name()));
        if !names.contains(&gone) {
            break;
        }
        assert!(Instant::now() < deadline, "{gone} is still there");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

#[tokio::test]
async fn what_was_acknowledged_survives_a_kill_and_a_stop() {
    let mut server = MongodServer::replica_set().await;
    insert(&server.url(), 1).await;
    server.kill();
    assert_eq!(server.pid(), None);
    server.start_again().await;
    assert_eq!(count(&server.url()).await, 1);
    insert(&server.url(), 2).await;
    server.stop();
    server.start_again().await;
    assert_eq!(count(&server.url()).await, 2);
}

#[tokio::test]
async fn a_standalone_belongs_to_no_replica_set() {
    let server = MongodServer::standalone().await;
    let answer = hello(&server.url()).await;
    assert!(!answer.contains_key("setName"), "{answer}");
    assert!(!answer.contains_key("isreplicaset"), "{answer}");
}

#[tokio::test]
async fn a_server_can_appear_on_a_reserved_port() {
    let port = reserve_port();
    let server = MongodServer::replica_set_on(port).await;
    assert_eq!(server.port(), port);
    assert!(hello(&server.url()).await.get_bool("isWritablePrimary").unwrap());
}

#[tokio::test]
async fn fail_points_take_effect_as_often_as_they_were_told_and_are_counted() {
    let server = MongodServer::replica_set().await;
    let client = Client::with_uri_str(server.url()).await.unwrap();
    let ping = async || client.database("admin").run_command(doc! { "ping": 1 }).await;
    let data = || doc! { "failCommands": ["ping"], "errorCode": 91 };
    let once = FailPoint::command(&server, Failing::Times(1), data()).await;
    let error = ping().await.unwrap_err();
    assert!(error.to_string().contains("91"), "{error}");
    once.met(1).await;
    ping().await.unwrap();
    assert_eq!(once.clear().await, 1);
    let always = FailPoint::command(&server, Failing::Always, data()).await;
    for _ in 0..3 {
        ping().await.unwrap_err();
    }
    assert_eq!(always.clear().await, 3);
    ping().await.unwrap();
}

#[tokio::test]
async fn three_members_elect_another_primary_when_theirs_is_killed() {
    let mut set = ReplicaSet::of(3).await;
    insert(&set.url(), 1).await;
    let killed = set.kill_primary().await;
    assert_ne!(set.primary().await, killed);
    insert(&set.url(), 2).await;
    set.members()[killed].start_again().await;
    assert_eq!(count(&set.url()).await, 2);
}

#[tokio::test]
async fn a_primary_that_steps_down_is_frozen_or_is_cut_off_is_replaced() {
    let mut set = ReplicaSet::of(3).await;
    insert(&set.url(), 1).await;
    let old = set.step_down().await;
    set.successor(old).await;

    let old = set.whole().await;
    set.members()[old].freeze();
    set.successor(old).await;
    set.members()[old].thaw();

    let old = set.whole().await;
    set.cut_off(old);
    set.successor(old).await;
    insert(&set.url(), 2).await;
    set.mend();

    let old = set.whole().await;
    set.cut_off_from_members(old);
    set.successor(old).await;
    // Clients reach it still, and it knows no better than that somebody else may be primary.
    let address =
        set.url().split(['/', ',']).filter(|part| part.contains(':')).nth(old + 1).map(str::to_owned);
    let alone = format!("mongodb://{}/?directConnection=true", address.unwrap());
    assert!(!hello(&alone).await.get_bool("isWritablePrimary").unwrap());
    insert(&set.url(), 3).await;
    set.mend();
    set.whole().await;
    assert_eq!(count(&set.url()).await, 3);
}

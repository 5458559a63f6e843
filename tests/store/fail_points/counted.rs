//! What is tried again is counted, by what the database said.

use store::conformance::world::put;
use store::{Expected, Outcome, Retry, StreamWrite};
use testkit::{Failing, MongodServer};

use super::fault::Fault::{self, Conflict, Transient, UnknownCommit};
use super::fault::{Place, SUBJECT};
use crate::support::Mongo;

const EVENTS: Place = Place { command: "insert", collection: Some("events") };
const COMMIT: Place = Place { command: "commitTransaction", collection: None };

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn transactions_that_are_tried_again_are_counted_by_label() {
    let server = MongodServer::replica_set().await;
    let mongo = Mongo::on(&server);
    let store = mongo.process(SUBJECT).await.store;
    let counted = async |place: Place, fault: Fault, times: i32| {
        let before = Retry::ALL.map(|retry| store.metrics().retries(retry));
        let namespace = place.collection.map(|collection| mongo.namespace(collection));
        let fail_point = fault.set(&server, Failing::Times(times), place, namespace).await;
        let stream = mongo.world.stream();
        let write = StreamWrite::new(stream, Expected::NoStream, vec![mongo.world.plain_event()]);
        put(&store, [write]).await.unwrap();
        fail_point.clear().await;
        let after = Retry::ALL.map(|retry| store.metrics().retries(retry));
        let news = Retry::ALL.into_iter().zip(before.into_iter().zip(after));
        news.filter(|(_, (before, after))| before != after)
            .map(|(retry, (before, after))| (retry, after - before))
            .collect::<Vec<_>>()
    };
    assert_eq!(counted(EVENTS, Transient, 3).await, [(Retry::Transient, 3)]);
    assert_eq!(counted(EVENTS, Conflict, 2).await, [(Retry::WriteConflict, 2)]);
    assert_eq!(counted(COMMIT, UnknownCommit, 2).await, [(Retry::UnknownCommit, 2)]);
    let metrics = store.metrics();
    assert_eq!((metrics.appends(Outcome::Appended), metrics.waiting()), (3, 0));
}

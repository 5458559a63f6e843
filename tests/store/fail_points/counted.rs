//! What is tried again is counted, by what the database said.

use store::conformance::world::put;
use store::{Expected, Retries, StreamWrite};
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
        let before = store.metrics().retries;
        let namespace = place.collection.map(|collection| mongo.namespace(collection));
        let fail_point = fault.set(&server, Failing::Times(times), place, namespace).await;
        let stream = mongo.world.stream();
        let write = StreamWrite::new(stream, Expected::NoStream, vec![mongo.world.plain_event()]);
        put(&store, [write]).await.unwrap();
        fail_point.clear().await;
        let after = store.metrics().retries;
        Retries {
            write_conflict: after.write_conflict - before.write_conflict,
            transient: after.transient - before.transient,
            unknown_commit: after.unknown_commit - before.unknown_commit,
            duplicate_key: after.duplicate_key - before.duplicate_key,
        }
    };
    let none = Retries::default();
    assert_eq!(counted(EVENTS, Transient, 3).await, Retries { transient: 3, ..none });
    assert_eq!(counted(EVENTS, Conflict, 2).await, Retries { write_conflict: 2, ..none });
    assert_eq!(counted(COMMIT, UnknownCommit, 2).await, Retries { unknown_commit: 2, ..none });
    let metrics = store.metrics();
    assert_eq!((metrics.outcomes.appended, metrics.waiting), (3, 0));
    assert_eq!((metrics.batch_events.count(), metrics.batch_events.sum), (3, 3));
}

//! Retries are counted by their cause.

use store::conformance::harness::append_writes;
use store::{AppendOutcome, ExpectedVersion, RetryReason, StreamWrite};
use testkit::{FailPointMode, MongodServer};

use super::injected_fault::Fault::{self, Conflict, Transient, UnknownCommit};
use super::injected_fault::{FAULTED_PROCESS, TargetCommand};
use crate::support::MongoFixture;

const EVENTS: TargetCommand = TargetCommand { command: "insert", collection: Some("events") };
const COMMIT: TargetCommand = TargetCommand { command: "commitTransaction", collection: None };

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn transaction_retries_are_counted_by_cause() {
    let server = MongodServer::replica_set().await;
    let mongo = MongoFixture::on(&server);
    let store = mongo.process(FAULTED_PROCESS).await.store;
    let counted = async |place: TargetCommand, fault: Fault, times: i32| {
        let before = RetryReason::ALL.map(|retry| store.metrics().retries(retry));
        let namespace = place.collection.map(|collection| mongo.namespace(collection));
        let fail_point = fault.set(&server, FailPointMode::Times(times), place, namespace).await;
        let stream = mongo.harness.new_stream();
        let write = StreamWrite::new(stream, ExpectedVersion::NoStream, vec![mongo.harness.plain_event()]);
        append_writes(&store, [write]).await.unwrap();
        fail_point.clear().await;
        let after = RetryReason::ALL.map(|retry| store.metrics().retries(retry));
        let changed = RetryReason::ALL.into_iter().zip(before.into_iter().zip(after));
        changed
            .filter(|(_, (before, after))| before != after)
            .map(|(retry, (before, after))| (retry, after - before))
            .collect::<Vec<_>>()
    };
    assert_eq!(counted(EVENTS, Transient, 3).await, [(RetryReason::Transient, 3)]);
    assert_eq!(counted(EVENTS, Conflict, 2).await, [(RetryReason::WriteConflict, 2)]);
    assert_eq!(counted(COMMIT, UnknownCommit, 2).await, [(RetryReason::UnknownCommit, 2)]);
    let metrics = store.metrics();
    assert_eq!((metrics.appends(AppendOutcome::Appended), metrics.waiting()), (3, 0));
}

//! Faults in the commands of an append with an idempotency key. After an unknown outcome the append is
//! repeated with its key.

use store::conformance::harness::{append_writes, build_append, email_claim};
use store::{Append, AppendError, Appended, EventStore, ExpectedVersion, Position, StreamId, StreamWrite};
use testkit::MongodServer;

use super::injected_fault::Fault::{
    Closed, Conflict, Interrupted, Silent, Slow, Transient, Unanswered, UnknownCommit, WriteConcern,
};
use super::injected_fault::{FAULTED_PROCESS, TargetCommand};
use super::runner::ExpectedOutcome::{Done, NotDone, Open, Unknown, UnknownButDone};
use super::runner::{FaultCase, Observed, TestCase, TimeoutCase, expand, run_all};
use crate::support::{MongoFixture, Process, assert_log_consistent};

/// The first command of the transaction.
const PRECONDITIONS: TargetCommand = on("aggregate", "head");
const RECORDED_RESULT: TargetCommand = on("find", "idempotency");
const RELEASE: TargetCommand = on("update", "vault");
const NEW_KEY: TargetCommand = on("insert", "vault");
const EVENTS: TargetCommand = on("insert", "events");
const NEW_RESULT: TargetCommand = on("update", "idempotency");
const NEW_HEAD: TargetCommand = on("update", "head");
const COMMIT: TargetCommand = TargetCommand { command: "commitTransaction", collection: None };
/// The data key of an existing stream is read before the transaction.
const KEY: TargetCommand = on("find", "vault");

const fn on(command: &'static str, collection: &'static str) -> TargetCommand {
    TargetCommand { command, collection: Some(collection) }
}

/// Statements of a transaction have no write concern, so the driver may ignore a write concern error on them:
/// only that of the commit counts. `find` cannot return one.
const ROWS: &[FaultCase] = &[
    (PRECONDITIONS, Transient, [Done, Done, NotDone]),
    (PRECONDITIONS, UnknownCommit, [NotDone, NotDone, NotDone]),
    (PRECONDITIONS, Conflict, [Done, Done, NotDone]),
    (PRECONDITIONS, Interrupted, [Done, Done, NotDone]),
    (PRECONDITIONS, Closed, [Done, Done, NotDone]),
    (PRECONDITIONS, WriteConcern, [Done, Done, Done]),
    (PRECONDITIONS, Slow, [Done, Done, Done]),
    (RECORDED_RESULT, Transient, [Done, Done, NotDone]),
    (RECORDED_RESULT, UnknownCommit, [NotDone, NotDone, NotDone]),
    (RECORDED_RESULT, Conflict, [Done, Done, NotDone]),
    (RECORDED_RESULT, Interrupted, [Done, Done, NotDone]),
    (RECORDED_RESULT, Closed, [Done, Done, NotDone]),
    (RECORDED_RESULT, Slow, [Done, Done, Done]),
    (RELEASE, Transient, [Done, Done, NotDone]),
    (RELEASE, UnknownCommit, [NotDone, NotDone, NotDone]),
    (RELEASE, Conflict, [Done, Done, NotDone]),
    (RELEASE, Interrupted, [Done, Done, NotDone]),
    (RELEASE, Closed, [Done, Done, NotDone]),
    (RELEASE, WriteConcern, [Done, Done, Done]),
    (RELEASE, Slow, [Done, Done, Done]),
    (NEW_KEY, Transient, [Done, Done, NotDone]),
    (NEW_KEY, UnknownCommit, [NotDone, NotDone, NotDone]),
    (NEW_KEY, Conflict, [Done, Done, NotDone]),
    (NEW_KEY, Interrupted, [Done, Done, NotDone]),
    (NEW_KEY, Closed, [Done, Done, NotDone]),
    (NEW_KEY, WriteConcern, [NotDone, NotDone, NotDone]),
    (NEW_KEY, Slow, [Done, Done, Done]),
    (EVENTS, Transient, [Done, Done, NotDone]),
    (EVENTS, UnknownCommit, [NotDone, NotDone, NotDone]),
    (EVENTS, Conflict, [Done, Done, NotDone]),
    (EVENTS, Interrupted, [Done, Done, NotDone]),
    (EVENTS, Closed, [Done, Done, NotDone]),
    (EVENTS, WriteConcern, [NotDone, NotDone, NotDone]),
    (EVENTS, Slow, [Done, Done, Done]),
    (NEW_RESULT, Transient, [Done, Done, NotDone]),
    (NEW_RESULT, UnknownCommit, [NotDone, NotDone, NotDone]),
    (NEW_RESULT, Conflict, [Done, Done, NotDone]),
    (NEW_RESULT, Interrupted, [Done, Done, NotDone]),
    (NEW_RESULT, Closed, [Done, Done, NotDone]),
    (NEW_RESULT, WriteConcern, [Done, Done, Done]),
    (NEW_RESULT, Slow, [Done, Done, Done]),
    (NEW_HEAD, Transient, [Done, Done, NotDone]),
    (NEW_HEAD, UnknownCommit, [NotDone, NotDone, NotDone]),
    (NEW_HEAD, Conflict, [Done, Done, NotDone]),
    (NEW_HEAD, Interrupted, [Done, Done, NotDone]),
    (NEW_HEAD, Closed, [Done, Done, NotDone]),
    (NEW_HEAD, WriteConcern, [NotDone, NotDone, NotDone]),
    (NEW_HEAD, Slow, [Done, Done, Done]),
    (COMMIT, Transient, [Done, Open, Open]),
    (COMMIT, UnknownCommit, [Done, Done, Unknown]),
    (COMMIT, Conflict, [Done, Open, Open]),
    (COMMIT, Interrupted, [Done, Done, Unknown]),
    (COMMIT, Closed, [Done, Done, Unknown]),
    (COMMIT, WriteConcern, [Done, Done, UnknownButDone]),
    (COMMIT, Slow, [Done, Done, Done]),
];

const LATE_ROWS: &[TimeoutCase] = &[
    (PRECONDITIONS, Silent, NotDone),
    (RECORDED_RESULT, Silent, NotDone),
    (RELEASE, Silent, NotDone),
    (NEW_KEY, Silent, NotDone),
    (EVENTS, Silent, NotDone),
    (NEW_RESULT, Silent, NotDone),
    (NEW_HEAD, Silent, NotDone),
    (COMMIT, Silent, Unknown),
    (COMMIT, Unanswered, UnknownButDone),
];

/// Outside transactions the driver retries a read once after a connection error.
const KEY_ROWS: &[FaultCase] = &[
    (KEY, Transient, [NotDone, NotDone, NotDone]),
    (KEY, UnknownCommit, [NotDone, NotDone, NotDone]),
    (KEY, Conflict, [NotDone, NotDone, NotDone]),
    (KEY, Interrupted, [NotDone, NotDone, NotDone]),
    (KEY, Closed, [Done, NotDone, NotDone]),
    (KEY, Slow, [Done, Done, Done]),
];

const LATE_KEY_ROWS: &[TimeoutCase] = &[(KEY, Silent, NotDone)];

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn faulted_append_is_exactly_once_and_reported_truthfully() {
    run_all(expand(ROWS, LATE_ROWS), attempt).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn faulted_key_read_means_not_appended() {
    run_all(expand(KEY_ROWS, LATE_KEY_ROWS), attempt_with_key).await;
}

async fn attempt(server: &MongodServer, case: TestCase) {
    let scenario = AppendScenario::new(server).await;
    // One stream releases its claim and a new stream takes one, which requires every command of an append.
    let harness = &scenario.mongo.harness;
    let release = StreamWrite {
        release: vec![email_claim(OLD)],
        ..StreamWrite::new(scenario.stream.clone(), ExpectedVersion::Exactly(1), vec![harness.plain_event()])
    };
    scenario
        .try_append(server, case, vec![release, harness.write_claiming_email(&harness.new_stream(), NEW)])
        .await;
}

async fn attempt_with_key(server: &MongodServer, case: TestCase) {
    let scenario = AppendScenario::new(server).await;
    let change = StreamWrite {
        release: vec![email_claim(OLD)],
        take: vec![email_claim(NEW)],
        ..scenario.mongo.harness.write(&scenario.stream, ExpectedVersion::Exactly(1))
    };
    scenario.try_append(server, case, vec![change]).await;
}

/// The claim that the append releases.
const OLD: &str = "old@example.com";
/// The claim that the append takes.
const NEW: &str = "new@example.com";

/// Two processes and a stream that holds a claim.
struct AppendScenario {
    mongo: MongoFixture,
    subject: Process,
    observer: Process,
    stream: StreamId,
}

impl AppendScenario {
    async fn new(server: &MongodServer) -> Self {
        let mongo = MongoFixture::on(server);
        let (subject, observer) = (mongo.process(FAULTED_PROCESS).await, mongo.process("observer").await);
        let stream = mongo.harness.new_stream();
        append_writes(&subject.store, [mongo.harness.write_claiming_email(&stream, OLD)]).await.unwrap();
        Self { mongo, subject, observer, stream }
    }

    async fn try_append(&self, server: &MongodServer, case: TestCase, writes: Vec<StreamWrite>) {
        let events = writes.len();
        let key = self.subject.store.idempotency_key(&[b"caller", b"key"], &[b"request"]);
        let append = Append { idempotency: Some(key), ..build_append(writes) };
        let namespace = case.target.collection.map(|collection| self.mongo.namespace(collection));
        let fail_point = case.fault.set(server, case.failing, case.target, namespace).await;
        let answer = self.subject.store.append(&append).await;
        let hits = fail_point.clear().await;
        assert!(hits > 0, "the fault was not triggered");
        let observed = self.observe(&append, &answer).await;
        assert!(case.expected.allows(observed), "{observed:?}: {answer:?}");
        // This append settles a pending transaction, because only one can lock the head.
        let next = self.append_plainly(&self.subject.store).await;
        let happened = self.check_answer(observed, &answer).await;
        let before = if happened { 1 + events } else { 1 };
        assert_eq!(next.position, Position::new(u64::try_from(before).unwrap() + 1), "the next append");
        self.append_plainly(&self.observer.store).await;
        self.check_recorded_result(&append, happened).await;
        self.check_claims(happened).await;
        let log = assert_log_consistent(&self.observer.store).await;
        assert_eq!(log.len(), before + 3, "events in the log");
        assert_eq!(log, assert_log_consistent(&self.subject.store).await, "both processes read the same");
    }

    /// The outcome that the caller observes. After an unknown outcome the append is repeated, which reveals
    /// the truth.
    async fn observe(&self, append: &Append, answer: &Result<Appended, AppendError>) -> Observed {
        match answer {
            Ok(_) => Observed::Done,
            Err(AppendError::Store(error)) if error.is_transient() => Observed::NotDone,
            Err(AppendError::Unknown(_)) => match self.subject.store.append(append).await {
                Err(AppendError::DuplicateRequest) => Observed::UnknownButDone,
                Ok(_) => Observed::UnknownAndNotDone,
                wrong => panic!("the caller got {answer:?}, and for the repeated append {wrong:?}"),
            },
            _ => panic!("the caller got {answer:?}"),
        }
    }

    async fn append_plainly(&self, store: &EventStore) -> Appended {
        let harness = &self.mongo.harness;
        let write =
            StreamWrite::new(harness.new_stream(), ExpectedVersion::NoStream, vec![harness.plain_event()]);
        append_writes(store, [write]).await.expect("the log accepts appends")
    }

    /// Whether the append happened, at first or when repeated; the observed outcome must be true.
    async fn check_answer(&self, observed: Observed, answer: &Result<Appended, AppendError>) -> bool {
        let versions = self.observer.store.read_stream(&self.stream).await.unwrap().len();
        let happened = observed != Observed::NotDone;
        let expected = if happened { 2 } else { 1 };
        assert_eq!(
            versions, expected,
            "events of the stream; the caller got {answer:?}, observed {observed:?}"
        );
        happened
    }

    /// A result is recorded if and only if the append happened, and another process finds it.
    async fn check_recorded_result(&self, append: &Append, happened: bool) {
        let (store, key) = (&self.observer.store, append.idempotency.unwrap());
        let recorded = store.recorded_result(&key).await.unwrap();
        if !happened {
            assert_eq!(recorded, None, "an append that did not happen has no recorded result");
            return;
        }
        let last = append.writes.last().unwrap();
        let events = store.read_stream(&last.stream).await.unwrap();
        let event = &events.last().unwrap().envelope;
        let recorded = recorded.expect("an append that happened has a recorded result");
        assert!(recorded.is_for(&key), "{recorded:?}");
        let result = (&recorded.stream, recorded.version, recorded.position, recorded.at);
        assert_eq!(result, (&self.stream, 2, event.position, event.at), "the recorded result");
        let again = store.append(append).await;
        assert!(
            matches!(again, Err(AppendError::DuplicateRequest)),
            "repeated in another process: {again:?}"
        );
    }

    /// Checks the claims by trying to take them.
    async fn check_claims(&self, happened: bool) {
        let free = if happened { OLD } else { NEW };
        for claim in [OLD, NEW] {
            let harness = &self.mongo.harness;
            let taken = append_writes(
                &self.observer.store,
                [harness.write_claiming_email(&harness.new_stream(), claim)],
            )
            .await;
            match taken {
                Ok(_) if claim == free => {}
                Err(AppendError::ClaimTaken { kind: "email" }) if claim != free => {}
                wrong => panic!("taking {claim}, happened: {happened}: {wrong:?}"),
            }
        }
    }
}

//! An append under an idempotency key, whose commands fail, each in turn. Where nobody can tell what became of it, it is
//! sent again under its key.

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
const FACTS: TargetCommand = on("aggregate", "head");
const FIRST_RESULT: TargetCommand = on("find", "idempotency");
const RELEASE: TargetCommand = on("update", "vault");
const TAKE: TargetCommand = on("insert", "vault");
const EVENTS: TargetCommand = on("insert", "events");
const RESULT: TargetCommand = on("update", "idempotency");
const NEW_HEAD: TargetCommand = on("update", "head");
const COMMIT: TargetCommand = TargetCommand { command: "commitTransaction", collection: None };
/// The key of a stream that exists is read before the transaction.
const KEY: TargetCommand = on("find", "vault");

const fn on(command: &'static str, collection: &'static str) -> TargetCommand {
    TargetCommand { command, collection: Some(collection) }
}

/// A statement of a transaction has no write concern of its own: where the server complains of one all the same, the
/// driver may pass over it, since it is the commit that counts. To `find` the server cannot attach the complaint.
const ROWS: &[FaultCase] = &[
    (FACTS, Transient, [Done, Done, NotDone]),
    (FACTS, UnknownCommit, [NotDone, NotDone, NotDone]),
    (FACTS, Conflict, [Done, Done, NotDone]),
    (FACTS, Interrupted, [Done, Done, NotDone]),
    (FACTS, Closed, [Done, Done, NotDone]),
    (FACTS, WriteConcern, [Done, Done, Done]),
    (FACTS, Slow, [Done, Done, Done]),
    (FIRST_RESULT, Transient, [Done, Done, NotDone]),
    (FIRST_RESULT, UnknownCommit, [NotDone, NotDone, NotDone]),
    (FIRST_RESULT, Conflict, [Done, Done, NotDone]),
    (FIRST_RESULT, Interrupted, [Done, Done, NotDone]),
    (FIRST_RESULT, Closed, [Done, Done, NotDone]),
    (FIRST_RESULT, Slow, [Done, Done, Done]),
    (RELEASE, Transient, [Done, Done, NotDone]),
    (RELEASE, UnknownCommit, [NotDone, NotDone, NotDone]),
    (RELEASE, Conflict, [Done, Done, NotDone]),
    (RELEASE, Interrupted, [Done, Done, NotDone]),
    (RELEASE, Closed, [Done, Done, NotDone]),
    (RELEASE, WriteConcern, [Done, Done, Done]),
    (RELEASE, Slow, [Done, Done, Done]),
    (TAKE, Transient, [Done, Done, NotDone]),
    (TAKE, UnknownCommit, [NotDone, NotDone, NotDone]),
    (TAKE, Conflict, [Done, Done, NotDone]),
    (TAKE, Interrupted, [Done, Done, NotDone]),
    (TAKE, Closed, [Done, Done, NotDone]),
    (TAKE, WriteConcern, [NotDone, NotDone, NotDone]),
    (TAKE, Slow, [Done, Done, Done]),
    (EVENTS, Transient, [Done, Done, NotDone]),
    (EVENTS, UnknownCommit, [NotDone, NotDone, NotDone]),
    (EVENTS, Conflict, [Done, Done, NotDone]),
    (EVENTS, Interrupted, [Done, Done, NotDone]),
    (EVENTS, Closed, [Done, Done, NotDone]),
    (EVENTS, WriteConcern, [NotDone, NotDone, NotDone]),
    (EVENTS, Slow, [Done, Done, Done]),
    (RESULT, Transient, [Done, Done, NotDone]),
    (RESULT, UnknownCommit, [NotDone, NotDone, NotDone]),
    (RESULT, Conflict, [Done, Done, NotDone]),
    (RESULT, Interrupted, [Done, Done, NotDone]),
    (RESULT, Closed, [Done, Done, NotDone]),
    (RESULT, WriteConcern, [Done, Done, Done]),
    (RESULT, Slow, [Done, Done, Done]),
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
    (FACTS, Silent, NotDone),
    (FIRST_RESULT, Silent, NotDone),
    (RELEASE, Silent, NotDone),
    (TAKE, Silent, NotDone),
    (EVENTS, Silent, NotDone),
    (RESULT, Silent, NotDone),
    (NEW_HEAD, Silent, NotDone),
    (COMMIT, Silent, Unknown),
    (COMMIT, Unanswered, UnknownButDone),
];

/// The driver repeats a read outside of transactions once, if the connection broke.
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
    // One stream gives its claim back, another that is new takes one: every command of an append is needed.
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

/// The claim that the append gives back.
const OLD: &str = "old@example.com";
/// The claim that it takes.
const NEW: &str = "new@example.com";

/// A log with a stream that holds a claim, and two processes.
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
        let namespace = case.place.collection.map(|collection| self.mongo.namespace(collection));
        let fail_point = case.fault.set(server, case.failing, case.place, namespace).await;
        let answer = self.subject.store.append(&append).await;
        let met = fail_point.clear().await;
        assert!(met > 0, "the fault was not met");
        let told = self.observe(&append, &answer).await;
        assert!(case.expected.allows(told), "{told:?}: {answer:?}");
        // Whatever was still under way is settled by this: no two transactions hold the head.
        let next = self.append_plainly(&self.subject.store).await;
        let happened = self.check_answer(told, &answer).await;
        let before = if happened { 1 + events } else { 1 };
        assert_eq!(next.position, Position::new(u64::try_from(before).unwrap() + 1), "the next append");
        self.append_plainly(&self.observer.store).await;
        self.check_first_result(&append, happened).await;
        self.check_claims(happened).await;
        let log = assert_log_consistent(&self.observer.store).await;
        assert_eq!(log.len(), before + 3, "events in the log");
        assert_eq!(log, assert_log_consistent(&self.subject.store).await, "both processes read the same");
    }

    /// What the caller was told. One who was told that nobody can tell sends the append again at once, and is told.
    async fn observe(&self, append: &Append, answer: &Result<Appended, AppendError>) -> Observed {
        match answer {
            Ok(_) => Observed::Done,
            Err(AppendError::Store(error)) if error.is_transient() => Observed::NotDone,
            Err(AppendError::Unknown(_)) => match self.subject.store.append(append).await {
                Err(AppendError::DuplicateRequest) => Observed::UnknownButDone,
                Ok(_) => Observed::UnknownAndNotDone,
                wrong => panic!("the caller was told {answer:?}, and when it was sent again {wrong:?}"),
            },
            _ => panic!("the caller was told {answer:?}"),
        }
    }

    async fn append_plainly(&self, store: &EventStore) -> Appended {
        let harness = &self.mongo.harness;
        let write =
            StreamWrite::new(harness.new_stream(), ExpectedVersion::NoStream, vec![harness.plain_event()]);
        append_writes(store, [write]).await.expect("the log goes on")
    }

    /// Whether the append happened, the first time or when it was sent again; what the caller was told must be so.
    async fn check_answer(&self, told: Observed, answer: &Result<Appended, AppendError>) -> bool {
        let versions = self.observer.store.read_stream(&self.stream).await.unwrap().len();
        let happened = told != Observed::NotDone;
        let expected = if happened { 2 } else { 1 };
        assert_eq!(versions, expected, "events of the stream; the caller was told {answer:?}, so: {told:?}");
        happened
    }

    /// There is a first result if, and only if, the append happened: this very append's. Another process knows it, too.
    async fn check_first_result(&self, append: &Append, happened: bool) {
        let (store, key) = (&self.observer.store, append.idempotency.unwrap());
        let kept = store.recorded_result(&key).await.unwrap();
        if !happened {
            assert_eq!(kept, None, "the first result of what never happened");
            return;
        }
        let last = append.writes.last().unwrap();
        let events = store.read_stream(&last.stream).await.unwrap();
        let event = &events.last().unwrap().envelope;
        let kept = kept.expect("what happened has a first result");
        assert!(kept.is_for(&key), "{kept:?}");
        let place = (&kept.stream, kept.version, kept.position, kept.at);
        assert_eq!(place, (&self.stream, 2, event.position, event.at), "the first result");
        let again = store.append(append).await;
        assert!(matches!(again, Err(AppendError::DuplicateRequest)), "sent again elsewhere: {again:?}");
    }

    /// The claims are as the events say, by trying to take them.
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

//! Writing rows of a read model, the commands of which fail, each in turn.

use serde_json::json;
use store::{ApplyError, Change, Checkpoint, Column, ColumnKind, Position, ReadModels, Table};
use testkit::MongodServer;

use super::fault::Fault::{
    Closed, Conflict, Interrupted, Silent, Slow, Transient, Unanswered, UnknownCommit, WriteConcern,
};
use super::fault::{Place, SUBJECT};
use super::run::Outcome::{self, Done, NotDone, Open, Unknown, UnknownButDone};
use super::run::{Case, LateRow, Row, Told, cases, try_all};
use crate::support::Mongo;

static THINGS: Table = Table {
    name: "things_1",
    columns: &[
        Column { name: "id", kind: ColumnKind::Text },
        Column { name: "label", kind: ColumnKind::Text },
    ],
    indexes: &["label"],
};

/// The first command of the transaction.
const CHECKPOINT: Place = on("update", "projections");
const KNOWN: Place = on("find", "things_1");
const NEW: Place = on("insert", "things_1");
const CHANGED: Place = on("update", "things_1");
const REMOVED: Place = on("delete", "things_1");
const COMMIT: Place = Place { command: "commitTransaction", collection: None };

const fn on(command: &'static str, collection: &'static str) -> Place {
    Place { command, collection: Some(collection) }
}

const ROWS: &[Row] = &[
    (CHECKPOINT, Transient, [Done, Done, NotDone]),
    (CHECKPOINT, UnknownCommit, [NotDone, NotDone, NotDone]),
    (CHECKPOINT, Conflict, [Done, Done, NotDone]),
    (CHECKPOINT, Interrupted, [Done, Done, NotDone]),
    (CHECKPOINT, Closed, [Done, Done, NotDone]),
    (CHECKPOINT, WriteConcern, [NotDone, NotDone, NotDone]),
    (CHECKPOINT, Slow, [Done, Done, Done]),
    (KNOWN, Transient, [Done, Done, NotDone]),
    (KNOWN, UnknownCommit, [NotDone, NotDone, NotDone]),
    (KNOWN, Conflict, [Done, Done, NotDone]),
    (KNOWN, Interrupted, [Done, Done, NotDone]),
    (KNOWN, Closed, [Done, Done, NotDone]),
    (KNOWN, Slow, [Done, Done, Done]),
    (NEW, Transient, [Done, Done, NotDone]),
    (NEW, UnknownCommit, [NotDone, NotDone, NotDone]),
    (NEW, Conflict, [Done, Done, NotDone]),
    (NEW, Interrupted, [Done, Done, NotDone]),
    (NEW, Closed, [Done, Done, NotDone]),
    (NEW, WriteConcern, [NotDone, NotDone, NotDone]),
    (NEW, Slow, [Done, Done, Done]),
    (CHANGED, Transient, [Done, Done, NotDone]),
    (CHANGED, UnknownCommit, [NotDone, NotDone, NotDone]),
    (CHANGED, Conflict, [Done, Done, NotDone]),
    (CHANGED, Interrupted, [Done, Done, NotDone]),
    (CHANGED, Closed, [Done, Done, NotDone]),
    (CHANGED, WriteConcern, [Done, Done, Done]),
    (CHANGED, Slow, [Done, Done, Done]),
    (REMOVED, Transient, [Done, Done, NotDone]),
    (REMOVED, UnknownCommit, [NotDone, NotDone, NotDone]),
    (REMOVED, Conflict, [Done, Done, NotDone]),
    (REMOVED, Interrupted, [Done, Done, NotDone]),
    (REMOVED, Closed, [Done, Done, NotDone]),
    (REMOVED, WriteConcern, [NotDone, NotDone, NotDone]),
    (REMOVED, Slow, [Done, Done, Done]),
    (COMMIT, Transient, [Done, Open, Open]),
    (COMMIT, UnknownCommit, [Done, Done, Unknown]),
    (COMMIT, Conflict, [Done, Open, Open]),
    (COMMIT, Interrupted, [Done, Done, Unknown]),
    (COMMIT, Closed, [Done, Done, Unknown]),
    (COMMIT, WriteConcern, [Done, Done, UnknownButDone]),
    (COMMIT, Slow, [Done, Done, Done]),
];

const LATE_ROWS: &[LateRow] = &[
    (CHECKPOINT, Silent, NotDone),
    (KNOWN, Silent, NotDone),
    (NEW, Silent, NotDone),
    (CHANGED, Silent, NotDone),
    (REMOVED, Silent, NotDone),
    (COMMIT, Silent, Unknown),
    (COMMIT, Unanswered, UnknownButDone),
];

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn whatever_befalls_the_writing_of_rows_they_and_their_checkpoint_move_together_or_not_at_all() {
    try_all(cases(ROWS, LATE_ROWS), attempt).await;
}

async fn attempt(server: &MongodServer, case: Case) {
    let mongo = Mongo::on(server);
    let (subject, observer) = (mongo.process(SUBJECT).await, mongo.process("observer").await);
    let (writing, watching) = (subject.rows(), observer.rows());
    for rows in [writing, watching] {
        rows.prepare(&THINGS).await.unwrap();
    }
    let before = [change("a", Some("one")), change("b", Some("two"))];
    writing.apply(&THINGS, at(0), Position::new(5), before.into()).await.unwrap();

    let namespace = case.place.collection.map(|collection| mongo.namespace(collection));
    let fail_point = case.fault.set(server, case.failing, case.place, namespace).await;
    let answer = apply(writing).await;
    let met = fail_point.clear().await;
    assert!(met > 0, "the fault was not met");
    // Whatever was still under way is settled by this: no two transactions hold the checkpoint.
    let again = apply(writing).await;
    let happened = check_answer(case.expected, &answer, &again);
    // Now it has happened, the first time or the second.
    assert_eq!(state(watching).await, (at(9), vec!["a=three".to_owned(), "c=four".to_owned()]), "{happened}");
    for (rows, from) in [(writing, 9), (watching, 10)] {
        rows.apply(&THINGS, at(from), Position::new(from + 1), vec![change("c", None)]).await.unwrap();
    }
    assert_eq!(state(writing).await, (at(11), vec!["a=three".to_owned()]));
    for process in [&subject, &observer] {
        let mut signals = process.store.signals();
        signals.wait_for(|signal| signal.projected(THINGS.name) == Position::new(11)).await.unwrap();
    }
}

/// One row is changed, one new, one removed: every command is needed.
async fn apply(rows: &dyn ReadModels) -> Result<(), ApplyError> {
    let changes = vec![change("a", Some("three")), change("b", None), change("c", Some("four"))];
    rows.apply(&THINGS, at(5), Position::new(9), changes).await
}

/// Whether it happened: then, and only then, the same asked for again is overtaken by it.
fn check_answer(expected: Outcome, answer: &Result<(), ApplyError>, again: &Result<(), ApplyError>) -> bool {
    let happened = match again {
        Err(ApplyError::Overtaken) => true,
        Ok(()) => false,
        Err(error) => panic!("it does not go on: {error}"),
    };
    // A failed writer is not told whether nobody can tell: the checkpoint, read again, does.
    let told: &[Told] = match (answer, happened) {
        (Ok(()), true) => &[Told::Done],
        (Err(ApplyError::Store(error)), true) if error.is_transient() => &[Told::UnknownButDone],
        (Err(ApplyError::Store(error)), false) if error.is_transient() => {
            &[Told::NotDone, Told::UnknownAndNotDone]
        }
        _ => panic!("the writer was told {answer:?}, but happened: {happened}"),
    };
    assert!(told.iter().any(|told| expected.allows(*told)), "{told:?}: {answer:?}");
    happened
}

fn change(key: &str, label: Option<&str>) -> Change {
    let row = label.map(|label| json!({"id": key, "label": label}).as_object().unwrap().clone());
    Change { key: key.to_owned(), row }
}

fn at(position: u64) -> Checkpoint {
    Checkpoint { rebuilds: 0, position: Position::new(position) }
}

async fn state(rows: &dyn ReadModels) -> (Checkpoint, Vec<String>) {
    let page = rows.page(&THINGS, None, 100).await.unwrap();
    let text =
        |row: &store::Row| format!("{}={}", row["id"].as_str().unwrap(), row["label"].as_str().unwrap());
    (rows.checkpoint(&THINGS).await.unwrap(), page.iter().map(text).collect())
}

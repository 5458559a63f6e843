//! Query plans on MongoDB: every query of the log reads an index in order, as the server's profiler reports.

use std::time::{Duration, Instant};

use futures::TryStreamExt;
use mongodb::bson::{Document, doc};
use store::conformance::harness::build_append;
use store::{
    Append, Column, ColumnKind, EventQuery, ExpectedVersion, NewEvent, Position, PrefixQuery,
    ProjectionCheckpoint, RowChange, StreamId, StreamWrite, Table, TableSchema,
};

use crate::support::MongoFixture;

static THINGS: TableSchema =
    TableSchema { columns: &[Column { name: "id", kind: ColumnKind::Text }], indexes: &[] };

static LABELLED: TableSchema = TableSchema {
    columns: &[
        Column { name: "id", kind: ColumnKind::Text },
        Column { name: "label", kind: ColumnKind::Text },
    ],
    indexes: &["label"],
};

/// Number of events of each kind; queries ask for fewer.
const MANY: usize = 60;
const LIMIT: usize = 10;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn queries_use_an_index_without_sorting() {
    let mongo = MongoFixture::shared().await;
    let process = mongo.process("reader").await;
    let (busy, quiet) = (mongo.harness.new_stream(), mongo.harness.new_stream());
    for number in 0..MANY {
        for (stream, event_type, actor) in [(&busy, "Common", "system"), (&quiet, "Other", "operator:1")] {
            let rare = number == MANY - 1 && actor == "system";
            let event_type = if rare { "Rare" } else { event_type };
            let event = NewEvent { event_type: event_type.to_owned(), ..mongo.harness.plain_event() };
            let write = StreamWrite::new(stream.clone(), ExpectedVersion::Any, vec![event]);
            process.store.append(&Append { actor: actor.to_owned(), ..build_append([write]) }).await.unwrap();
        }
    }
    let database = mongodb::Client::with_uri_str(&mongo.url).await.unwrap().database(&mongo.database);
    database.run_command(doc! { "profile": 2 }).await.unwrap();
    let numbered = |count: usize| (0..count).map(|number| format!("Type{number}")).collect::<Vec<_>>();
    let types = |names: &[&str]| names.iter().map(|&name| name.to_owned()).collect::<Vec<_>>();
    let (stream, actor) = (|stream: &StreamId| Some(stream.clone()), |actor: &str| Some(actor.to_owned()));
    let whole = EventQuery { after: Position::new(3), limit: LIMIT, ..EventQuery::default() };
    let by = |keys: &str| match keys {
        "position" => doc! { "_id": 1 },
        "stream" => doc! { "stream": 1, "version": -1 },
        other => doc! { other: 1, "_id": 1 },
    };
    let common = numbered(63).into_iter().chain(["Other".to_owned()]).collect::<Vec<_>>();
    // Number of events found, and maximum number examined: the index of a stream starts at its first version,
    // and of two criteria only one uses the index.
    for (query, keys, found, examined) in [
        (whole.clone(), "position", LIMIT, LIMIT),
        (EventQuery { types: types(&["Rare"]), ..whole.clone() }, "type", 1, 1),
        (EventQuery { types: types(&["Rare", "Other"]), ..whole.clone() }, "type", LIMIT, LIMIT),
        (EventQuery { types: common, ..whole.clone() }, "type", LIMIT, LIMIT),
        (EventQuery { types: numbered(65), ..whole.clone() }, "position", 0, 2 * MANY),
        (EventQuery { actor: actor("operator:1"), ..whole.clone() }, "actor", LIMIT, LIMIT),
        (EventQuery { actor: actor("unknown"), ..whole.clone() }, "actor", 0, 0),
        (
            EventQuery { actor: actor("operator:1"), types: types(&["Rare"]), ..whole.clone() },
            "actor",
            0,
            MANY,
        ),
        (EventQuery { stream: stream(&quiet), ..whole.clone() }, "stream", LIMIT, LIMIT + 2),
        (EventQuery { stream: stream(&quiet), types: types(&["Rare"]), ..whole.clone() }, "stream", 0, MANY),
        (EventQuery { stream: stream(&quiet), actor: actor("unknown"), ..whole.clone() }, "stream", 0, MANY),
    ] {
        let keys = by(keys);
        assert_eq!(process.store.read(&query).await.unwrap().len(), found, "{query:?}");
        let profile = database.collection::<Document>("system.profile");
        let of_events = doc! { "ns": mongo.namespace("events"), "op": "query" };
        let mut profiles: Vec<_> = profile.find(of_events).await.unwrap().try_collect().await.unwrap();
        let profile_entry = profiles.pop().expect("the profiler recorded the query");
        let number = |name: &str| usize::try_from(profile_entry.get_i32(name).unwrap()).unwrap();
        let summary = profile_entry.get_str("planSummary").unwrap().split_whitespace().collect::<String>();
        let index = format!("IXSCAN{keys}").split_whitespace().collect::<String>().replace('"', "");
        assert!(summary.contains(&index), "{query:?} uses {summary}, not {index}");
        assert!(!profile_entry.contains_key("hasSortStage"), "{query:?} is sorted: {profile_entry}");
        assert!(number("docsExamined") <= examined, "{query:?} examines too many documents: {profile_entry}");
        database.run_command(doc! { "profile": 0 }).await.unwrap();
        profile.drop().await.unwrap();
        database.run_command(doc! { "profile": 2 }).await.unwrap();
    }
    database.run_command(doc! { "profile": 0 }).await.unwrap();
}

/// Rows are found by the beginning of a text in an index, in its order, and no others are examined.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn rows_of_a_prefix_are_read_from_an_index_in_order() {
    let mongo = MongoFixture::shared().await;
    let process = mongo.process("projector").await;
    let table = Table::of("labelled", 1, &LABELLED);
    process.rows().prepare(&table).await.unwrap();
    process.rows().index(&table).await.unwrap();
    let changes = (0..MANY).map(|number| {
        let (id, label) =
            (number.to_string(), format!("{}{number:02}", if number % 2 == 0 { "even" } else { "odd" }));
        let row = [("id".to_owned(), id.as_str().into()), ("label".to_owned(), label.into())];
        RowChange { key: id, row: Some(row.into_iter().collect()), digest: None, existed: false }
    });
    let (from, to) = (ProjectionCheckpoint::default(), ProjectionCheckpoint::default());
    let to = ProjectionCheckpoint { position: Position::new(1), ..to };
    process.rows().apply(&table, from, to, changes.collect()).await.unwrap();
    let database = mongodb::Client::with_uri_str(&mongo.url).await.unwrap().database(&mongo.database);
    let profile = database.collection::<Document>("system.profile");
    for (prefix, after, found) in [
        ("odd", None, LIMIT),
        ("odd", Some("odd41"), MANY.div_ceil(2) - 21),
        ("even0", None, 5),
        ("x", None, 0),
    ] {
        database.run_command(doc! { "profile": 2 }).await.unwrap();
        let (prefix, after) = (prefix.to_owned(), after.map(str::to_owned));
        let query = PrefixQuery { column: "label", prefix, after, limit: LIMIT };
        let rows = process.rows().prefix_page(&table, &query).await.unwrap().rows;
        assert_eq!(rows.len(), found, "{query:?}");
        let of_rows = doc! { "ns": mongo.namespace("labelled_1"), "op": "query" };
        let mut profiles: Vec<_> = profile.find(of_rows).await.unwrap().try_collect().await.unwrap();
        let entry = profiles.pop().expect("the profiler recorded the query");
        let number = |name: &str| usize::try_from(entry.get_i32(name).unwrap()).unwrap();
        assert_eq!(entry.get_str("planSummary").unwrap(), "IXSCAN { label: 1 }", "{query:?}");
        assert!(!entry.contains_key("hasSortStage"), "{query:?} is sorted: {entry}");
        assert_eq!((number("docsExamined"), number("keysExamined") <= found + 1), (found, true), "{entry}");
        database.run_command(doc! { "profile": 0 }).await.unwrap();
        profile.drop().await.unwrap();
    }
}

/// A process that opens its change stream polls once, and reads only the checkpoints of tables in use.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn polls_read_no_checkpoint_of_a_removed_table() {
    let mongo = MongoFixture::shared().await;
    let process = mongo.process("projector").await;
    let table = |number| Table::of("things", number, &THINGS);
    process.rows().prepare(&table(1)).await.unwrap();
    for number in 2..6 {
        process.rows().prepare(&table(number)).await.unwrap();
        process.rows().remove(&table(number)).await.unwrap();
    }
    let database = mongodb::Client::with_uri_str(&mongo.url).await.unwrap().database(&mongo.database);
    database.run_command(doc! { "profile": 2 }).await.unwrap();
    let _other = mongo.process("other").await;
    let polls = doc! {
        "ns": mongo.namespace("checkpoints"), "op": "query", "command.filter._id": { "$exists": false },
    };
    let profile = database.collection::<Document>("system.profile");
    let deadline = Instant::now() + Duration::from_secs(20);
    let polled = loop {
        let polls: Vec<_> = profile.find(polls.clone()).await.unwrap().try_collect().await.unwrap();
        if !polls.is_empty() {
            break polls;
        }
        assert!(Instant::now() < deadline, "no process has polled the checkpoints");
        tokio::time::sleep(Duration::from_millis(50)).await;
    };
    for poll in polled {
        assert_eq!(poll.get_i32("nreturned").unwrap(), 1, "{poll}");
    }
}

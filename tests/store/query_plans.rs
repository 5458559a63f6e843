//! On MongoDB an index leads to whatever a page of the log is asked for, in order: the server says so itself.

use futures::TryStreamExt;
use mongodb::bson::{Document, doc};
use store::conformance::world::append;
use store::{Append, EventQuery, Expected, NewEvent, Position, StreamId, StreamWrite};

use crate::support::Mongo;

/// How many of each kind there are; few are asked for.
const MANY: usize = 60;
const LIMIT: usize = 10;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_index_leads_to_whatever_is_asked_for_and_nothing_is_sorted() {
    let mongo = Mongo::shared().await;
    let process = mongo.process("reader").await;
    let (busy, quiet) = (mongo.world.stream(), mongo.world.stream());
    for number in 0..MANY {
        for (stream, event_type, actor) in [(&busy, "Common", "system"), (&quiet, "Other", "operator:1")] {
            let rare = number == MANY - 1 && actor == "system";
            let event_type = if rare { "Rare" } else { event_type };
            let event = NewEvent { event_type: event_type.to_owned(), ..mongo.world.plain_event() };
            let write = StreamWrite::new(stream.clone(), Expected::Any, vec![event]);
            process.store.append(&Append { actor: actor.to_owned(), ..append([write]) }).await.unwrap();
        }
    }
    let database = mongodb::Client::with_uri_str(&mongo.url).await.unwrap().database(&mongo.database);
    database.run_command(doc! { "profile": 2 }).await.unwrap();
    let types = |names: &[&str]| names.iter().map(|&name| name.to_owned()).collect::<Vec<_>>();
    let (stream, actor) = (|stream: &StreamId| Some(stream.clone()), |actor: &str| Some(actor.to_owned()));
    let whole = EventQuery { after: Position::new(3), limit: LIMIT, ..EventQuery::default() };
    for (query, keys, found) in [
        (whole.clone(), doc! { "_id": 1 }, LIMIT),
        (EventQuery { types: types(&["Rare"]), ..whole.clone() }, doc! { "type": 1, "_id": 1 }, 1),
        (
            EventQuery { types: types(&["Rare", "Other"]), ..whole.clone() },
            doc! { "type": 1, "_id": 1 },
            LIMIT,
        ),
        (EventQuery { actor: actor("operator:1"), ..whole.clone() }, doc! { "actor": 1, "_id": 1 }, LIMIT),
        (EventQuery { actor: actor("nobody"), ..whole.clone() }, doc! { "actor": 1, "_id": 1 }, 0),
        (EventQuery { stream: stream(&quiet), ..whole.clone() }, doc! { "stream": 1, "version": -1 }, LIMIT),
    ] {
        assert_eq!(process.store.read(&query).await.unwrap().len(), found, "{query:?}");
        let profile = database.collection::<Document>("system.profile");
        let of_events = doc! { "ns": mongo.namespace("events"), "op": "query" };
        let mut told: Vec<_> = profile.find(of_events).await.unwrap().try_collect().await.unwrap();
        let told = told.pop().expect("the server noted the query");
        let number = |name: &str| usize::try_from(told.get_i32(name).unwrap()).unwrap();
        let summary = told.get_str("planSummary").unwrap().split_whitespace().collect::<String>();
        let index = format!("IXSCAN{keys}").split_whitespace().collect::<String>().replace('"', "");
        assert!(summary.contains(&index), "{query:?} goes by {summary}, not {index}");
        assert!(!told.contains_key("hasSortStage"), "{query:?} is sorted: {told}");
        // A stream's index starts at its first version; the others at the position itself.
        let looked_at = if query.stream.is_some() { found + 2 } else { found };
        assert!(number("docsExamined") <= looked_at, "{query:?} looks at more than it finds: {told}");
        database.run_command(doc! { "profile": 0 }).await.unwrap();
        profile.drop().await.unwrap();
        database.run_command(doc! { "profile": 2 }).await.unwrap();
    }
    database.run_command(doc! { "profile": 0 }).await.unwrap();
}

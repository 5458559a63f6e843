use std::slice::from_ref;
use std::time::{Duration, Instant};

use store::backend::{Backend, EventQuery};
use store::key_store::KeyEntry;
use store::merkle::Frontier;
use store::{PersonalData, Position};

use super::*;
use crate::job_queue::Priority;

#[tokio::test]
async fn commit_of_another_process_is_seen_within_200_ms() {
    let database = Database::new();
    let (_a, mine) = database.open().await;
    let (_b, other) = database.open().await;
    let mut updates = other.watch_progress();
    let mut slowest = Duration::ZERO;
    for number in 1..=20 {
        let position = register(&mine, &format!("user-{number}")).await.unwrap().position;
        let start = Instant::now();
        updates.wait_for(|progress| progress.head >= position).await.unwrap();
        slowest = slowest.max(start.elapsed());
    }
    println!("slowest wake-up: {slowest:?}");
    assert!(slowest < Duration::from_millis(200), "{slowest:?}");
}

#[tokio::test]
async fn opened_store_knows_the_head() {
    let database = Database::new();
    let (_a, log) = database.open().await;
    register(&log, "user-1").await.unwrap();
    let (_b, later) = database.open().await;
    assert_eq!(later.progress().head, Position::new(1));
}

#[tokio::test(flavor = "multi_thread")]
async fn two_processes_append_without_gaps_or_loss() {
    const EACH: u64 = 500;
    let database = Database::new();
    let (_a, first) = database.open().await;
    let (_b, second) = database.open().await;
    let append = async |log: EventStore, name: &'static str| {
        let mut positions = Vec::new();
        for number in 0..EACH {
            positions.push(register(&log, &format!("{name}-{number}")).await.unwrap().position);
        }
        positions
    };
    let (first_task, second_task) =
        (tokio::spawn(append(first.clone(), "ada")), tokio::spawn(append(second.clone(), "bob")));
    let mut positions = [first_task.await.unwrap(), second_task.await.unwrap()].concat();
    positions.sort_unstable();
    assert_eq!(positions, (1..=2 * EACH).map(Position::new).collect::<Vec<_>>());
    let query = EventQuery { limit: 5000, ..EventQuery::default() };
    let events = second.read(&query).await.unwrap();
    assert_eq!(events.len(), 1000);
    check_log(
        &events.into_iter().map(|event| event.envelope).collect::<Vec<_>>(),
        &first.head().await.unwrap(),
    );
}

/// Checks that positions are contiguous and that the root of the head is the root of the leaves.
fn check_log(events: &[store::Envelope], head: &store::Head) {
    let mut frontier = Frontier::default();
    for (want, event) in (1..).zip(events) {
        assert_eq!(event.position.get(), want);
        frontier.push(event.leaf);
    }
    assert_eq!(frontier.size(), head.position.get());
    assert_eq!(frontier.root(), head.root);
}

#[tokio::test(flavor = "multi_thread")]
async fn readers_see_a_consistent_log_during_writes() {
    let database = Database::new();
    let (_a, log) = database.open().await;
    let (reader, _) = database.open().await;
    let writer = tokio::spawn(async move {
        for number in 0..300 {
            register(&log, &format!("user-{number}")).await.unwrap();
        }
    });
    let mut reads = 0;
    while !writer.is_finished() {
        let head = reader.head().await.unwrap();
        let query = EventQuery { until: Some(head.position), limit: 5000, ..EventQuery::default() };
        check_log(&reader.events(&query).await.unwrap(), &head);
        reads += 1;
    }
    writer.await.unwrap();
    assert!(reads > 3, "only {reads} reads");
}

#[tokio::test]
async fn cancelled_append_is_still_committed() {
    let database = Database::new();
    let (_a, log) = database.open().await;
    let append = registration("user-1");
    // Polled once, which queues the append, then dropped.
    tokio::select! {
        biased;
        _ = log.append(&append) => {}
        () = std::future::ready(()) => {}
    }
    log.watch_progress().wait_for(|progress| progress.head == Position::new(1)).await.unwrap();
    assert_eq!(log.read_stream(&stream("user-1")).await.unwrap().len(), 1);
}

#[tokio::test]
async fn queries_filter_like_event_query_matches() {
    let database = Database::new();
    let (sqlite, log) = database.open().await;
    for number in 0..20 {
        register(&log, &format!("user-{number}")).await.unwrap();
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
    let all = sqlite.events(&EventQuery { limit: 100, ..EventQuery::default() }).await.unwrap();
    let base = EventQuery { limit: 100, ..EventQuery::default() };
    let queries = [
        EventQuery { types: vec!["UserRegistered".to_owned(), "UserErased".to_owned()], ..base.clone() },
        EventQuery { types: vec!["UserErased".to_owned()], ..base.clone() },
        EventQuery {
            stream: Some(stream("user-3")),
            actor: Some("operator:user-3".to_owned()),
            ..base.clone()
        },
        EventQuery { stream: Some(stream("user-3")), after: Position::new(4), ..base.clone() },
        EventQuery { actor: Some("operator:user-4".to_owned()), ..base.clone() },
        EventQuery { limit: 0, ..base.clone() },
        EventQuery { limit: 3, after: Position::new(4), until: Some(Position::new(6)), ..base.clone() },
    ];
    for query in queries {
        let within = |position| position > query.after && query.until.is_none_or(|until| position <= until);
        let wanted: Vec<_> =
            all.iter().filter(|event| within(event.position) && query.matches(event)).collect();
        let found = sqlite.events(&query).await.unwrap();
        assert_eq!(found.iter().collect::<Vec<_>>(), wanted[..wanted.len().min(query.limit)], "{query:?}");
    }
}

#[tokio::test]
async fn erased_key_is_absent_from_disk() {
    let database = Database::new();
    let (sqlite, log) = database.open().await;
    for number in 0..50 {
        register(&log, &format!("user-{number}")).await.unwrap();
    }
    let erased = stream("user-25");
    let KeyEntry::Key(key) = sqlite.key_entries(from_ref(&erased)).await.unwrap()[&erased].clone() else {
        panic!()
    };
    assert!(on_disk(database.folder.path(), &key));

    let mut write = registration("user-25").writes.remove(0);
    write.events[0].personal.clear();
    write = StreamWrite { expected: ExpectedVersion::Exactly(1), take: Vec::new(), erase: true, ..write };
    let append = Append::new("system", "", vec![write]);
    log.append(&append).await.unwrap();
    // Happens automatically after a few seconds.
    sqlite.writer.run(Priority::Normal, |session| Some(session.truncate_wal())).await.unwrap().unwrap();
    assert!(!on_disk(database.folder.path(), &key));
    assert_eq!(sqlite.key_entries(from_ref(&erased)).await.unwrap()[&erased], KeyEntry::Erased);
    assert_eq!(log.read_stream(&erased).await.unwrap()[0].personal, PersonalData::Erased);
    register(&log, "user-25b").await.unwrap();
}

#[tokio::test]
async fn wal_is_truncated_automatically() {
    let database = Database::new();
    let (_sqlite, log) = database.open().await;
    register(&log, "user-1").await.unwrap();
    let size = || std::fs::metadata(format!("{}-wal", database.path().display())).unwrap().len();
    assert!(size() > 0);
    let start = Instant::now();
    while size() > 0 {
        assert!(start.elapsed() < Duration::from_secs(20), "the -wal still has {} bytes", size());
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
}

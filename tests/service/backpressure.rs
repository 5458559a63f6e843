//! Backpressure: appends beyond the full queue are rejected at once with `Retry-After`.

use rusqlite::Connection;
use store::{Append, AppendError, ExpectedVersion, NewEvent, StreamId, StreamWrite};
use tokio::task::JoinSet;
use uuid::Uuid;

use crate::support::{Store, TestApp, credentials, on_one_store};

on_one_store! { sqlite: full_append_queue_answers_503_with_retry_after }

/// More than the capacity of the queue and of the first batch.
const MANY: u128 = 6000;

async fn full_append_queue_answers_503_with_retry_after() {
    let app = TestApp::start(Store::sqlite()).await;
    let known = app.sign_up("known").await;
    // While another transaction is open, no batch is committed.
    let other = Connection::open(app.store().file()).unwrap();
    other.execute_batch("BEGIN IMMEDIATE").unwrap();
    let mut waiting = JoinSet::new();
    for number in 0..MANY {
        let store = app.services().store.clone();
        waiting.spawn(async move { store.append(&an_append(number)).await });
    }
    // The first response is a rejection.
    let first = waiting.join_next().await.unwrap().unwrap();
    assert!(matches!(first, Err(AppendError::Busy)), "{first:?}");

    let refused = app.post("/auth/signup").json(&credentials("ada")).send().await;
    assert_eq!(refused.code(503), "busy");
    assert_eq!(refused.retry_after(), 1);
    // Reads do not enter the queue.
    known.get("/users/me").send().await.expect(200);

    other.execute_batch("ROLLBACK").unwrap();
    let (mut done, mut busy) = (0, 1);
    while let Some(answer) = waiting.join_next().await {
        match answer.unwrap() {
            Ok(_) => done += 1,
            Err(AppendError::Busy) => busy += 1,
            Err(wrong) => panic!("{wrong:?}"),
        }
    }
    assert_eq!(done + busy, MANY);
    // The sign-up and the appends that were not rejected.
    assert_eq!(u128::from(app.head().await), 1 + done);
    app.post("/auth/signup").json(&credentials("ada")).send().await.expect(201);
}

fn an_append(number: u128) -> Append {
    let event = NewEvent {
        id: Uuid::from_u128(number),
        event_type: "Happened".to_owned(),
        schema: 1,
        data: serde_json::Map::new(),
        personal: serde_json::Map::new(),
    };
    let stream = StreamId::new(format!("thing-{number}")).unwrap();
    Append::new("system", "test", vec![StreamWrite::new(stream, ExpectedVersion::NoStream, vec![event])])
}

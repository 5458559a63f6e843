//! Proving the rows: what is wrong is found and named, and what is right is proved in little memory.

use std::sync::Arc;
use std::time::Duration;

use domain::{Role, UserCommand};
use serde_json::json;
use store::{ProjectionCheckpoint, ReadModelStore, Row, RowChange, RowsDigest};

use super::fixture::{ERASE, Fixture};
use super::other_versions::EventCounts;
use super::recording_backend::RecordingBackend;
use crate::verify::{RowDifference, RowDifferenceKind, VerifiedTable, VerifyError, verify, verify_within};
use crate::{Projection, Users, catch_up, lifecycle};

fn users() -> &'static dyn Projection {
    &Users
}

async fn verify_rows(fixture: &Fixture) -> Result<VerifiedTable, VerifyError> {
    verify(&Users, &fixture.context(), None, &mut |_, _| {}).await
}

async fn difference(fixture: &Fixture) -> RowDifference {
    match verify_rows(fixture).await {
        Err(VerifyError::Differs(difference)) => difference,
        other => panic!("{other:?}"),
    }
}

/// As by hand in the database: the checkpoint, and its sum of rows, know nothing of it.
async fn tamper(fixture: &Fixture, key: &str, row: Option<Row>) {
    let table = users().table(1);
    let at = fixture.memory.checkpoint(&table).await.unwrap();
    let change = RowChange { key: key.to_owned(), row, digest: None, existed: true };
    fixture.memory.apply(&table, at, at, vec![change]).await.unwrap();
}

/// Some users, as they are kept.
async fn projected_users(users: usize) -> (Fixture, Vec<Row>) {
    projected_events(users, 3).await
}

async fn projected_events(users: usize, events: usize) -> (Fixture, Vec<Row>) {
    let fixture = Fixture::with_users(users, events).await;
    catch_up(&Users, &fixture.context()).await.unwrap();
    let rows = fixture.live_rows(&Users).await;
    (fixture, rows)
}

fn id(row: &Row) -> &str {
    row["id"].as_str().unwrap()
}

#[tokio::test]
async fn correct_rows_verify() {
    let (fixture, rows) = projected_users(20).await;
    let verified = verify_rows(&fixture).await.unwrap();
    assert_eq!(
        (verified.table.as_str(), verified.rows, verified.position),
        ("users_1", 20, fixture.head().await)
    );
    assert_eq!(verified.digest, rows.iter().fold(RowsDigest::default(), RowsDigest::plus));
    let ProjectionCheckpoint { digest, .. } = fixture.memory.checkpoint(&users().table(1)).await.unwrap();
    assert_eq!(verified.digest, digest, "what was kept row by row is what it comes to");
}

#[tokio::test]
async fn edited_row_is_reported_with_its_field() {
    let (fixture, rows) = projected_users(5).await;
    for (field, value) in
        [("roles", json!(["admin"])), ("is_active", json!(false)), ("username", json!(null))]
    {
        let mut wrong = rows[3].clone();
        wrong.insert(field.to_owned(), value);
        tamper(&fixture, id(&rows[3]), Some(wrong)).await;
        let found = difference(&fixture).await;
        let kind = RowDifferenceKind::Field { field: field.to_owned() };
        assert_eq!((found.key.as_str(), &found.kind), (id(&rows[3]), &kind));
        let message = found.to_string();
        assert!(
            message.contains("users_1") && message.contains(id(&rows[3])) && message.contains(field),
            "{message}"
        );
        assert!(
            !message.contains("user3@example.com") && !message.contains("admin"),
            "nothing personal: {message}"
        );
        tamper(&fixture, id(&rows[3]), Some(rows[3].clone())).await;
    }
    verify_rows(&fixture).await.unwrap();
}

#[tokio::test]
async fn missing_and_extra_rows_are_reported() {
    let (fixture, rows) = projected_users(5).await;
    for row in &rows {
        tamper(&fixture, id(row), None).await;
        let found = difference(&fixture).await;
        assert_eq!((found.key.as_str(), found.kind), (id(row), RowDifferenceKind::Missing));
        tamper(&fixture, id(row), Some(row.clone())).await;
    }
    for stranger in ["00000000-0000-7000-8000-000000000000", "ffffffff-0000-7000-8000-000000000000"] {
        let mut row = rows[0].clone();
        row.insert("id".to_owned(), json!(stranger));
        tamper(&fixture, stranger, Some(row)).await;
        let found = difference(&fixture).await;
        assert_eq!((found.key.as_str(), found.kind), (stranger, RowDifferenceKind::Unexpected));
        tamper(&fixture, stranger, None).await;
    }
    verify_rows(&fixture).await.unwrap();
}

#[tokio::test]
async fn small_memory_budget_takes_several_passes_with_the_same_result() {
    let (mut fixture, rows) = projected_users(40).await;
    // Erased rows free memory, which evicted rows must not fill incompletely.
    for who in [3, 17, 30] {
        fixture.command(who, ERASE).await;
    }
    catch_up(&Users, &fixture.context()).await.unwrap();
    let at_once = verify_rows(&fixture).await.unwrap();
    assert_eq!(at_once.rows, 37);
    let row_cost = serde_json::to_vec(&rows[0]).unwrap().len() + 200;
    for budget in [1, row_cost * 3, row_cost * 11, row_cost * 30] {
        let mut passes = 0;
        let mut last = 0;
        let mut count = |done, _| {
            passes += u32::from(done <= last);
            last = done;
        };
        let verified = verify_within(budget, &Users, &fixture.context(), None, &mut count).await.unwrap();
        assert_eq!(verified, at_once, "{budget}");
        assert!(passes > 0, "{budget} bytes are enough for all of them");
        let rows = fixture.live_rows(&Users).await;
        for row in [rows.first().unwrap(), rows.last().unwrap()] {
            tamper(&fixture, id(row), None).await;
            let found = verify_within(budget, &Users, &fixture.context(), None, &mut |_, _| {}).await;
            assert!(matches!(&found, Err(VerifyError::Differs(found)) if found.key == id(row)), "{found:?}");
            tamper(&fixture, id(row), Some(row.clone())).await;
        }
    }
}

#[tokio::test]
async fn evicted_rows_do_not_return_incomplete() {
    let mut fixture = Fixture::with_users(40, 1).await;
    let mut by_id: Vec<_> = (0..40).collect();
    by_id.sort_by_key(|who| fixture.users[*who].0.to_string());
    // The first leave room, and the last, whose beginnings have gone, go on.
    for who in &by_id[..3] {
        fixture.command(*who, ERASE).await;
    }
    for who in by_id[30..].iter().rev() {
        fixture.command(*who, UserCommand::GrantRole { role: Role::Auditor }).await;
    }
    lifecycle::open(&EventCounts, &fixture.context(), "system", fixture.env.now()).await.unwrap();
    catch_up(&EventCounts, &fixture.context()).await.unwrap();
    let at_once = verify(&EventCounts, &fixture.context(), None, &mut |_, _| {}).await.unwrap();
    let rows = fixture.live_rows(&EventCounts).await;
    let row_cost = serde_json::to_vec(&rows[0]).unwrap().len() + 140;
    for fit in [5, 10, 15, 20, 25] {
        let proved =
            verify_within(row_cost * fit, &EventCounts, &fixture.context(), None, &mut |_, _| {}).await;
        assert_eq!(proved.unwrap(), at_once, "{fit}");
    }
}

#[tokio::test(start_paused = true)]
async fn no_row_is_counted_twice_when_rows_outgrow_memory() {
    const A_PAGE: Duration = Duration::from_secs(10);
    let (mut fixture, rows) = projected_events(1_100, 1).await;
    let cost = |row: &Row| serde_json::to_vec(row).unwrap().len() + id(row).len() + 96;
    let budget = rows[..1_004].iter().map(cost).sum();
    let slow = Arc::new(RecordingBackend::new(&fixture.memory, A_PAGE));
    let context = fixture.context_over(slow.clone(), slow);
    let proving =
        tokio::spawn(async move { verify_within(budget, &Users, &context, None, &mut |_, _| {}).await });
    // The first page is compared, the second is on its way.
    tokio::time::sleep(A_PAGE * 3 / 2).await;
    for who in 0..300 {
        for role in [Role::Admin, Role::Operator, Role::Auditor] {
            fixture.command(who, UserCommand::GrantRole { role }).await;
        }
    }
    catch_up(&Users, &fixture.context()).await.unwrap();
    let verified = proving.await.unwrap().unwrap();
    let ProjectionCheckpoint { digest, .. } = fixture.memory.checkpoint(&users().table(1)).await.unwrap();
    assert_eq!(verified.rows, 1_100);
    // The first page was compared as it was before.
    assert_ne!(verified.digest, digest);
}

#[tokio::test(start_paused = true)]
async fn rows_verify_under_continuous_writes() {
    let mut fixture = Fixture::with_users(60, 4).await;
    let _node = fixture.node(&Users, "a");
    fixture.reached(&Users, 1, fixture.head().await).await;
    let begun = fixture.head().await;
    let slow = Arc::new(RecordingBackend::new(&fixture.memory, Duration::from_millis(20)));
    let context = fixture.context_over(slow.clone(), slow);
    let proving =
        tokio::spawn(async move { verify_within(4_000, &Users, &context, None, &mut |_, _| {}).await });
    let mut number = 0;
    while !proving.is_finished() {
        let who = number % 59;
        let role = Role::Operator;
        if fixture.command(who, UserCommand::GrantRole { role }).await.is_empty() {
            fixture.command(who, UserCommand::RevokeRole { role }).await;
        }
        if number == 5 {
            fixture.command(59, ERASE).await;
        }
        number += 1;
        assert!(number < 20_000, "it does not end");
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    let verified = proving.await.unwrap().unwrap();
    assert!(verified.position > begun, "nothing came meanwhile");
    assert_eq!(verified.rows, 59, "each is counted once, and who is erased not at all");
}

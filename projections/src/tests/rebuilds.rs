//! Rebuilds: invisible until cutover, resumable, exclusive, cancellable, compared.

use std::sync::Arc;
use std::time::Duration;

use domain::{Role, UserCommand};
use serde_json::json;
use store::{Position, ProjectionCheckpoint, ReadModelStore, Row, RowChange, RowsDigest};

use super::fixture::{Fixture, TIMEOUT};
use super::recording_backend::RecordingBackend;
use crate::{ChangeError, Daily, Projection, Users, catch_up, lifecycle};

const SLOW: Duration = Duration::from_millis(200);

fn users() -> &'static dyn Projection {
    &Users
}

#[tokio::test(start_paused = true)]
async fn rebuild_is_invisible_until_cutover() {
    let mut fixture = Fixture::with_users(60, 20).await;
    let head = fixture.head().await;
    let recording = RecordingBackend::new(&fixture.memory, SLOW);
    let context = fixture.context_over(Arc::new(recording.clone()), Arc::new(recording.clone()));
    let _node = fixture.node_over(context, &Users, "a");
    fixture.reached(&Users, 1, head).await;
    let before = fixture.live_users().await;

    fixture.begin_rebuild(&Users).await.unwrap();
    let finished = async {
        while fixture.versions(&Users).await.live == 1 {
            // At any time: no user is missing or outdated.
            assert_eq!(fixture.live_users().await, before);
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    tokio::time::timeout(TIMEOUT, finished).await.unwrap();
    assert!(recording.writes_to("users_2").len() > 1, "it was long enough to be seen half-way");
    assert_eq!(fixture.live_users().await, before);
    let versions = fixture.versions(&Users).await;
    assert_eq!((versions.live, versions.describe().as_str()), (2, "1 is kept, 2 is live"));
    assert_eq!(versions.get(2).unwrap().differed, Some(false));

    fixture.command(0, UserCommand::Deactivate { reason: None }).await;
    fixture.reached(&Users, 2, head.next()).await;
    assert_eq!(fixture.live_users().await.iter().filter(|row| !row.is_active).count(), 1);
}

#[tokio::test(start_paused = true)]
async fn second_rebuild_is_rejected_and_names_who_started_the_first() {
    let fixture = Fixture::with_users(1, 1).await;
    let first = fixture.begin_rebuild(&Users).await.unwrap();
    let second = lifecycle::rebuild(&Users, &fixture.context(), "operator:bob", fixture.env.now()).await;
    let refused = second.unwrap_err();
    assert!(matches!(refused, ChangeError::Refused("users", _)), "{refused}");
    let message = refused.to_string();
    assert!(
        message.contains("version 2 is being built already") && message.contains("operator:ada"),
        "{message}"
    );
    assert_eq!(fixture.versions(&Users).await, first);
    fixture.begin_rebuild(&Daily).await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn interrupted_rebuild_resumes_from_its_checkpoint() {
    let fixture = Fixture::with_users(60, 20).await;
    let head = fixture.head().await;
    catch_up(&Users, &fixture.context()).await.unwrap();
    let first = RecordingBackend::new(&fixture.memory, SLOW);
    let context = fixture.context_over(Arc::new(first.clone()), Arc::new(first.clone()));
    let node = fixture.node_over(context, &Users, "a");
    fixture.begin_rebuild(&Users).await.unwrap();
    let begun = fixture.store.wait_until_applied("users_2", Position::new(1), TIMEOUT).await;
    assert!(begun, "it never begins");
    node.stop().await;
    let half_way = fixture.memory.checkpoint(&users().table(2)).await.unwrap().position;
    assert!(half_way < head, "it is done already");
    assert_eq!(fixture.versions(&Users).await.live, 1);

    let second = RecordingBackend::new(&fixture.memory, Duration::ZERO);
    let context = fixture.context_over(Arc::new(second.clone()), Arc::new(second.clone()));
    let _node = fixture.node_over(context, &Users, "b");
    fixture.until(&Users, |versions| versions.live == 2).await;
    let written = second.writes_to("users_2");
    assert_eq!(written.first().unwrap().0, half_way.get(), "{written:?}");
    assert_eq!(fixture.rows(&users().table(2)).await, fixture.rows(&users().table(1)).await);
}

#[tokio::test(start_paused = true)]
async fn cancelled_rebuild_is_removed_and_the_live_version_stays() {
    let fixture = Fixture::with_users(60, 20).await;
    let recording = RecordingBackend::new(&fixture.memory, SLOW);
    let context = fixture.context_over(Arc::new(recording.clone()), Arc::new(recording));
    let _node = fixture.node_over(context, &Users, "a");
    fixture.reached(&Users, 1, fixture.head().await).await;
    assert!(matches!(lifecycle::cancel(&Users, &fixture.context()).await, Err(ChangeError::Refused(..))));
    fixture.begin_rebuild(&Users).await.unwrap();
    assert!(fixture.store.wait_until_applied("users_2", Position::new(1), TIMEOUT).await);
    lifecycle::cancel(&Users, &fixture.context()).await.unwrap();
    let versions = fixture.until(&Users, |versions| versions.get(2).is_none()).await;
    assert_eq!(versions.describe(), "1 is live");
    assert!(fixture.rows(&users().table(2)).await.is_empty());
    assert!(fixture.memory.checkpoint(&users().table(2)).await.unwrap().is_removed());
    assert_eq!(fixture.live_users().await.len(), 60);
    assert_eq!(fixture.rebuild(&Users).await.live, 3, "no number is used twice");
}

/// Wrong rows with a matching digest.
async fn tamper(fixture: &Fixture, row: Row, key: String, before: &Row) {
    let table = users().table(1);
    let at = fixture.memory.checkpoint(&table).await.unwrap();
    let to = ProjectionCheckpoint { digest: at.digest.minus(before).plus(&row), ..at };
    let change = RowChange { key, row: Some(row), digest: None, existed: true };
    fixture.memory.apply(&table, at, to, vec![change]).await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn rebuild_reports_whether_the_previous_rows_differed() {
    let fixture = Fixture::with_users(3, 2).await;
    catch_up(&Users, &fixture.context()).await.unwrap();
    let right = fixture.rows(&users().table(1)).await;
    let mut wrong = right[0].clone();
    wrong.insert("username".to_owned(), json!("mallory"));
    tamper(&fixture, wrong, right[0]["id"].as_str().unwrap().to_owned(), &right[0]).await;
    let _node = fixture.node(&Users, "a");
    let versions = fixture.rebuild(&Users).await;
    assert_eq!(versions.get(2).unwrap().differed, Some(true));
    assert_eq!(fixture.live_rows(&Users).await, right, "the rebuilt ones are right");
    let versions = fixture.rebuild(&Users).await;
    assert_eq!(versions.get(3).unwrap().differed, Some(false));
    let ProjectionCheckpoint { digest, .. } = fixture.memory.checkpoint(&users().table(3)).await.unwrap();
    assert_eq!(digest, right.iter().fold(RowsDigest::default(), RowsDigest::plus));
}

#[tokio::test(start_paused = true)]
async fn rebuild_completes_under_continuous_writes() {
    let mut fixture = Fixture::with_users(30, 4).await;
    let nodes = [fixture.node(&Users, "a"), fixture.node(&Daily, "a")];
    fixture.begin_rebuild(&Users).await.unwrap();
    let mut number = 0;
    while fixture.versions(&Users).await.live == 1 {
        let (who, role) = (number % 30, Role::Operator);
        let had_it = fixture.command(who, UserCommand::GrantRole { role }).await.is_empty();
        if had_it {
            fixture.command(who, UserCommand::RevokeRole { role }).await;
        }
        number += 1;
        assert!(number < 5_000, "it does not end");
        // A paused clock does not advance while any task has work, and here one always has.
        tokio::time::advance(Duration::from_millis(1)).await;
    }
    let head = fixture.head().await;
    fixture.reached(&Users, 2, head).await;
    fixture.reached(&Users, 1, head).await;
    assert_eq!(fixture.rows(&users().table(1)).await, fixture.rows(&users().table(2)).await);
    for node in nodes {
        node.stop().await;
    }
}

/// A batch is folded while the one before is written. Here each changes rows of the one before.
#[tokio::test(start_paused = true)]
async fn rebuild_folds_each_batch_onto_the_rows_of_the_one_before() {
    let mut fixture = Fixture::with_users(40, 1).await;
    for round in 0..50 {
        for who in 0..40 {
            let role = Role::Auditor;
            let command = match round % 2 {
                0 => UserCommand::GrantRole { role },
                _ => UserCommand::RevokeRole { role },
            };
            fixture.command(who, command).await;
        }
    }
    catch_up(&Users, &fixture.context()).await.unwrap();
    let recording = RecordingBackend::new(&fixture.memory, SLOW);
    let context = fixture.context_over(Arc::new(recording.clone()), Arc::new(recording.clone()));
    let _node = fixture.node_over(context, &Users, "a");
    let versions = fixture.rebuild(&Users).await;
    assert!(recording.writes_to("users_2").len() > 3, "several batches");
    assert_eq!(fixture.rows(&users().table(2)).await, fixture.rows(&users().table(1)).await);
    assert_eq!(versions.get(2).unwrap().differed, Some(false), "the digests are equal");
}

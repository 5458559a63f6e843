//! Rebuilding beside what is read: unseen until it is as far, resumed, refused twice, cancelled, compared.

use std::sync::Arc;
use std::time::Duration;

use domain::{Command, Role};
use serde_json::json;
use store::{Change, Checkpoint, Position, ReadModels, Row, RowsDigest};

use super::watched::Watched;
use super::world::{PATIENCE, World};
use crate::{ChangeError, Daily, Projection, UserActivity, Users, catch_up, models};

const SLOW: Duration = Duration::from_millis(200);

fn users() -> &'static dyn Projection {
    &Users
}

#[tokio::test(start_paused = true)]
async fn a_rebuild_is_seen_by_nobody_until_it_is_as_far_as_what_it_replaces() {
    let mut world = World::crowd(60, 20).await;
    let head = world.head().await;
    let watched = Watched::new(&world.memory, SLOW);
    let sources = world.sources_over(Arc::new(watched.clone()), Arc::new(watched.clone()));
    let _node = world.node_over(sources, &Users, "a");
    world.reached(&Users, 1, head).await;
    let before = world.people().await;

    world.begin_rebuild(&Users).await.unwrap();
    let finished = async {
        while world.versions(&Users).await.live == 1 {
            // Whatever moment it is: nobody is missing, and nobody is as they once were.
            assert_eq!(world.people().await, before);
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    tokio::time::timeout(PATIENCE, finished).await.unwrap();
    assert!(watched.writes_to("users_2").len() > 1, "it was long enough to be seen half-way");
    assert_eq!(world.people().await, before);
    let versions = world.versions(&Users).await;
    assert_eq!((versions.live, versions.describe().as_str()), (2, "1 is kept, 2 is live"));
    assert_eq!(versions.get(2).unwrap().differed, Some(false));

    world.command(0, Command::Deactivate { reason: None }).await;
    world.reached(&Users, 2, head.next()).await;
    assert_eq!(world.people().await.iter().filter(|row| !row.is_active).count(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_second_rebuild_is_refused_with_who_began_the_first() {
    let world = World::crowd(1, 1).await;
    let first = world.begin_rebuild(&Users).await.unwrap();
    let second = models::rebuild(&Users, &world.sources(), "operator:bob", world.ambient.now()).await;
    let refused = second.unwrap_err();
    assert!(matches!(refused, ChangeError::Refused("users", _)), "{refused}");
    let told = refused.to_string();
    assert!(told.contains("version 2 is being built already") && told.contains("operator:ada"), "{told}");
    assert_eq!(world.versions(&Users).await, first);
    world.begin_rebuild(&Daily).await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_rebuild_that_was_stopped_half_way_goes_on_from_where_it_was() {
    let world = World::crowd(60, 20).await;
    let head = world.head().await;
    catch_up(&Users, &world.sources()).await.unwrap();
    let first = Watched::new(&world.memory, SLOW);
    let sources = world.sources_over(Arc::new(first.clone()), Arc::new(first.clone()));
    let node = world.node_over(sources, &Users, "a");
    world.begin_rebuild(&Users).await.unwrap();
    let begun = world.store.projected("users_2", Position::new(1), PATIENCE).await;
    assert!(begun, "it never begins");
    node.stop().await;
    let half_way = world.memory.checkpoint(&users().table(2)).await.unwrap().position;
    assert!(half_way < head, "it is done already");
    assert_eq!(world.versions(&Users).await.live, 1);

    let second = Watched::new(&world.memory, Duration::ZERO);
    let sources = world.sources_over(Arc::new(second.clone()), Arc::new(second.clone()));
    let _node = world.node_over(sources, &Users, "b");
    world.until(&Users, |versions| versions.live == 2).await;
    let written = second.writes_to("users_2");
    assert_eq!(written.first().unwrap().0, half_way.get(), "{written:?}");
    assert_eq!(world.rows(&users().table(2)).await, world.rows(&users().table(1)).await);
}

#[tokio::test(start_paused = true)]
async fn what_is_cancelled_is_removed_and_what_is_read_stays() {
    let world = World::crowd(60, 20).await;
    let watched = Watched::new(&world.memory, SLOW);
    let sources = world.sources_over(Arc::new(watched.clone()), Arc::new(watched));
    let _node = world.node_over(sources, &Users, "a");
    world.reached(&Users, 1, world.head().await).await;
    assert!(matches!(models::cancel(&Users, &world.sources()).await, Err(ChangeError::Refused(..))));
    world.begin_rebuild(&Users).await.unwrap();
    assert!(world.store.projected("users_2", Position::new(1), PATIENCE).await);
    models::cancel(&Users, &world.sources()).await.unwrap();
    let versions = world.until(&Users, |versions| versions.get(2).is_none()).await;
    assert_eq!(versions.describe(), "1 is live");
    assert!(world.rows(&users().table(2)).await.is_empty());
    assert!(world.memory.checkpoint(&users().table(2)).await.unwrap().is_removed());
    assert_eq!(world.people().await.len(), 60);
    assert_eq!(world.rebuild(&Users).await.live, 3, "no number is used twice");
}

/// Wrong rows, with a sum of rows that is right of them.
async fn doctor(world: &World, row: Row, key: String, before: &Row) {
    let table = users().table(1);
    let at = world.memory.checkpoint(&table).await.unwrap();
    let to = Checkpoint { digest: at.digest.minus(before).plus(&row), ..at };
    let change = Change { key, row: Some(row), known: true };
    world.memory.apply(&table, at, to, vec![change]).await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_rebuild_says_whether_the_rows_of_before_were_others() {
    let world = World::crowd(3, 2).await;
    catch_up(&Users, &world.sources()).await.unwrap();
    let right = world.rows(&users().table(1)).await;
    let mut wrong = right[0].clone();
    wrong.insert("username".to_owned(), json!("mallory"));
    doctor(&world, wrong, right[0]["id"].as_str().unwrap().to_owned(), &right[0]).await;
    let _node = world.node(&Users, "a");
    let versions = world.rebuild(&Users).await;
    assert_eq!(versions.get(2).unwrap().differed, Some(true));
    assert_eq!(world.live_rows(&Users).await, right, "the rebuilt ones are right");
    let versions = world.rebuild(&Users).await;
    assert_eq!(versions.get(3).unwrap().differed, Some(false));
    let Checkpoint { digest, .. } = world.memory.checkpoint(&users().table(3)).await.unwrap();
    assert_eq!(digest, right.iter().fold(RowsDigest::default(), RowsDigest::plus));
}

#[tokio::test(start_paused = true)]
async fn a_rebuild_ends_although_events_never_do() {
    let mut world = World::crowd(30, 4).await;
    let nodes = [world.node(&Users, "a"), world.node(&UserActivity, "a")];
    world.begin_rebuild(&Users).await.unwrap();
    let mut number = 0;
    while world.versions(&Users).await.live == 1 {
        let (who, role) = (number % 30, Role::Operator);
        let had_it = world.command(who, Command::GrantRole { role }).await.is_empty();
        if had_it {
            world.command(who, Command::RevokeRole { role }).await;
        }
        number += 1;
        assert!(number < 5_000, "it does not end");
        // A paused clock stands still while anybody has work, and here somebody always has.
        tokio::time::advance(Duration::from_millis(1)).await;
    }
    let head = world.head().await;
    world.reached(&Users, 2, head).await;
    world.reached(&Users, 1, head).await;
    assert_eq!(world.rows(&users().table(1)).await, world.rows(&users().table(2)).await);
    for node in nodes {
        node.stop().await;
    }
}

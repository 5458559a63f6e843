//! Versions that are kept: projected, gone back to, and dropped.

use domain::UserCommand;
use store::{Position, ReadModelStore, VersionError, WriteError};

use super::fixture::{Fixture, register};
use crate::{ChangeError, Projection, Users, catch_up, lifecycle};

fn users() -> &'static dyn Projection {
    &Users
}

#[tokio::test(start_paused = true)]
async fn previous_version_stays_current_and_can_be_rolled_back_to() {
    let mut fixture = Fixture::with_users(2, 1).await;
    let _node = fixture.node(&Users, "a");
    fixture.rebuild(&Users).await;
    fixture.command(0, UserCommand::Deactivate { reason: None }).await;
    let head = fixture.head().await;
    for number in [1, 2] {
        fixture.reached(&Users, number, head).await;
    }
    assert_eq!(fixture.rows(&users().table(1)).await, fixture.rows(&users().table(2)).await);

    let back = lifecycle::roll_back(&Users, &fixture.context(), None).await.unwrap();
    assert_eq!((back.live, fixture.store.progress().live_version("users")), (1, 1));
    fixture.command(1, UserCommand::Deactivate { reason: None }).await;
    for number in [1, 2] {
        fixture.reached(&Users, number, head.next()).await;
    }
    assert!(fixture.live_users().await.iter().all(|row| !row.is_active));
    let forward = lifecycle::roll_back(&Users, &fixture.context(), Some(2)).await.unwrap();
    assert_eq!(forward.live, 2);
    let refused = lifecycle::roll_back(&Users, &fixture.context(), Some(7)).await;
    assert!(matches!(refused, Err(ChangeError::Refused("users", VersionError::NotReady(7, _)))));
}

#[tokio::test(start_paused = true)]
async fn live_version_cannot_be_dropped() {
    let fixture = Fixture::with_users(2, 1).await;
    let _node = fixture.node(&Users, "a");
    fixture.rebuild(&Users).await;
    let refused = lifecycle::drop(&Users, &fixture.context(), 2).await;
    assert!(matches!(refused, Err(ChangeError::Refused("users", VersionError::IsLive(2)))));
    lifecycle::drop(&Users, &fixture.context(), 1).await.unwrap();
    assert_eq!(fixture.rows(&users().table(1)).await.len(), 2, "who has not heard yet still reads it");
    let versions = fixture.until(&Users, |versions| versions.get(1).is_none()).await;
    assert_eq!(versions.describe(), "2 is live");
    assert!(fixture.rows(&users().table(1)).await.is_empty());
    assert!(fixture.memory.checkpoint(&users().table(1)).await.unwrap().is_removed());
    assert_eq!(fixture.live_users().await.len(), 2);
    let gone = lifecycle::roll_back(&Users, &fixture.context(), None).await;
    assert!(matches!(gone, Err(ChangeError::Refused("users", VersionError::NothingBefore(_)))));
}

#[tokio::test(start_paused = true)]
async fn rollback_to_a_lagging_version_is_rejected() {
    let mut fixture = Fixture::with_users(2, 1).await;
    let node = fixture.node(&Users, "a");
    fixture.rebuild(&Users).await;
    fixture.reached(&Users, 1, fixture.head().await).await;
    node.stop().await;
    // No node maintains the previous version any more.
    fixture.command(0, UserCommand::Deactivate { reason: None }).await;
    catch_up(&Users, &fixture.context()).await.unwrap();
    let behind = lifecycle::roll_back(&Users, &fixture.context(), None).await;
    assert!(matches!(behind, Err(ChangeError::Behind("users", 1))), "{behind:?}");
    assert_eq!(fixture.versions(&Users).await.live, 2);
    lifecycle::catch_up_ready(&Users, &fixture.context()).await.unwrap();
    assert_eq!(lifecycle::roll_back(&Users, &fixture.context(), None).await.unwrap().live, 1);
}

#[tokio::test]
async fn concurrent_version_changes_one_wins() {
    let fixture = Fixture::with_users(1, 1).await;
    let known = fixture.versions(&Users).await;
    let change = |by| known.build(1, by, fixture.env.now()).unwrap();
    fixture.memory.change_versions("users", &change("operator:ada"), None).await.unwrap();
    let late = fixture.memory.change_versions("users", &change("operator:bob"), None).await;
    assert!(matches!(late, Err(WriteError::Conflict)), "{late:?}");
    assert_eq!(fixture.versions(&Users).await.building().unwrap().by, "operator:ada");
}

#[tokio::test]
async fn two_concurrent_projectors_produce_the_same_rows_as_one() {
    let mut fixture = Fixture::new(200).await;
    // Each believes that it is the only one.
    let leases = [store::memory::Memory::default(), store::memory::Memory::default()];
    let nodes = leases.map(|leases| {
        let context =
            fixture.context_over(std::sync::Arc::new(fixture.memory.clone()), std::sync::Arc::new(leases));
        fixture.node_over(context, &Users, "the only one")
    });
    for who in 0..200 {
        fixture.command(who, register(&format!("user{who}"))).await;
        if who % 3 == 0 {
            fixture.command(who, UserCommand::Deactivate { reason: None }).await;
        }
    }
    let head = fixture.head().await;
    fixture.reached(&Users, 1, head).await;
    let together = fixture.live_users().await;
    let versions = fixture.rebuild(&Users).await;
    assert_eq!(versions.get(2).unwrap().differed, Some(false));
    drop(nodes);
    assert_eq!(fixture.live_users().await, together);
    assert_eq!(together.iter().filter(|row| !row.is_active).count(), 67);
    assert!(head > Position::START);
}

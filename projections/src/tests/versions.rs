//! Versions that are kept: projected, gone back to, and dropped.

use domain::Command;
use store::{ApplyError, Position, ReadModels, VersionsError};

use super::world::{World, register};
use crate::{ChangeError, Projection, Users, catch_up, models};

fn users() -> &'static dyn Projection {
    &Users
}

#[tokio::test(start_paused = true)]
async fn the_version_of_before_is_kept_up_to_date_and_can_be_gone_back_to() {
    let mut world = World::crowd(2, 1).await;
    let _node = world.node(&Users, "a");
    world.rebuild(&Users).await;
    world.command(0, Command::Deactivate { reason: None }).await;
    let head = world.head().await;
    for number in [1, 2] {
        world.reached(&Users, number, head).await;
    }
    assert_eq!(world.rows(&users().table(1)).await, world.rows(&users().table(2)).await);

    let back = models::roll_back(&Users, &world.sources(), None).await.unwrap();
    assert_eq!((back.live, world.store.signal().live("users")), (1, 1));
    world.command(1, Command::Deactivate { reason: None }).await;
    for number in [1, 2] {
        world.reached(&Users, number, head.next()).await;
    }
    assert!(world.people().await.iter().all(|row| !row.is_active));
    let forward = models::roll_back(&Users, &world.sources(), Some(2)).await.unwrap();
    assert_eq!(forward.live, 2);
    let refused = models::roll_back(&Users, &world.sources(), Some(7)).await;
    assert!(matches!(refused, Err(ChangeError::Refused("users", VersionsError::NotReady(7, _)))));
}

#[tokio::test(start_paused = true)]
async fn a_version_is_dropped_but_never_the_one_that_is_read() {
    let world = World::crowd(2, 1).await;
    let _node = world.node(&Users, "a");
    world.rebuild(&Users).await;
    let refused = models::drop(&Users, &world.sources(), 2).await;
    assert!(matches!(refused, Err(ChangeError::Refused("users", VersionsError::IsLive(2)))));
    models::drop(&Users, &world.sources(), 1).await.unwrap();
    assert_eq!(world.rows(&users().table(1)).await.len(), 2, "who has not heard yet still reads it");
    let versions = world.until(&Users, |versions| versions.get(1).is_none()).await;
    assert_eq!(versions.describe(), "2 is live");
    assert!(world.rows(&users().table(1)).await.is_empty());
    assert!(world.memory.checkpoint(&users().table(1)).await.unwrap().is_removed());
    assert_eq!(world.people().await.len(), 2);
    let gone = models::roll_back(&Users, &world.sources(), None).await;
    assert!(matches!(gone, Err(ChangeError::Refused("users", VersionsError::NothingBefore(_)))));
}

#[tokio::test(start_paused = true)]
async fn nobody_goes_back_to_a_version_that_is_behind() {
    let mut world = World::crowd(2, 1).await;
    let node = world.node(&Users, "a");
    world.rebuild(&Users).await;
    world.reached(&Users, 1, world.head().await).await;
    node.stop().await;
    // Nobody keeps the version of before any more.
    world.command(0, Command::Deactivate { reason: None }).await;
    catch_up(&Users, &world.sources()).await.unwrap();
    let behind = models::roll_back(&Users, &world.sources(), None).await;
    assert!(matches!(behind, Err(ChangeError::Behind("users", 1))), "{behind:?}");
    assert_eq!(world.versions(&Users).await.live, 2);
    models::catch_up_kept(&Users, &world.sources()).await.unwrap();
    assert_eq!(models::roll_back(&Users, &world.sources(), None).await.unwrap().live, 1);
}

#[tokio::test]
async fn of_two_changes_of_the_same_versions_one_is_made() {
    let world = World::crowd(1, 1).await;
    let known = world.versions(&Users).await;
    let change = |by| known.build(1, by, world.ambient.now()).unwrap();
    world.memory.change_versions("users", &change("operator:ada"), None).await.unwrap();
    let late = world.memory.change_versions("users", &change("operator:bob"), None).await;
    assert!(matches!(late, Err(ApplyError::Overtaken)), "{late:?}");
    assert_eq!(world.versions(&Users).await.building().unwrap().by, "operator:ada");
}

#[tokio::test]
async fn two_nodes_at_once_give_the_same_rows_as_one() {
    let mut world = World::new(200).await;
    // Each believes that it is the only one.
    let leases = [store::memory::Memory::default(), store::memory::Memory::default()];
    let nodes = leases.map(|leases| {
        let sources =
            world.sources_over(std::sync::Arc::new(world.memory.clone()), std::sync::Arc::new(leases));
        world.node_over(sources, &Users, "the only one")
    });
    for who in 0..200 {
        world.command(who, register(&format!("user{who}"))).await;
        if who % 3 == 0 {
            world.command(who, Command::Deactivate { reason: None }).await;
        }
    }
    let head = world.head().await;
    world.reached(&Users, 1, head).await;
    let together = world.people().await;
    let versions = world.rebuild(&Users).await;
    assert_eq!(versions.get(2).unwrap().differed, Some(false));
    drop(nodes);
    assert_eq!(world.people().await, together);
    assert_eq!(together.iter().filter(|row| !row.is_active).count(), 67);
    assert!(head > Position::START);
}

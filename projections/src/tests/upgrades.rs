//! A program in which a fold has changed: the new rows are made by themselves, beside the old ones, which stay current.

use std::time::Duration;

use domain::{Command, Role};
use tokio::time::sleep;

use super::other_folds::{Later, Next};
use super::world::{World, register, says};
use crate::{ChangeError, Health, Projection, Users, models, verify};

fn next() -> &'static dyn Projection {
    &Next
}

#[tokio::test(start_paused = true)]
async fn a_new_fold_is_built_by_itself_while_the_old_rows_are_served_and_kept() {
    let mut world = World::new(2).await;
    world.command(0, register("ada")).await;
    let fault = {
        world.command(0, Command::GrantRole { role: Role::Auditor }).await;
        world.head().await
    };
    let node = world.node(&Next, "a");
    let versions = world.until(&Users, |versions| versions.building().is_some()).await;
    let building = versions.building().unwrap();
    assert_eq!((versions.live, building.number, building.fold), (1, 2, 2));
    assert!(building.by.starts_with("system"), "{}", building.by);

    // The new fold stumbles; the old one does not, and its rows are read.
    let halted = says(&node, |standing| {
        standing.report.versions.get(&2).is_some_and(|next| matches!(next.health, Health::Halted(_)))
    });
    halted.await;
    world.command(1, register("bob")).await;
    world.reached(&Users, 1, world.head().await).await;
    sleep(Duration::from_secs(10)).await;
    assert_eq!((world.versions(&Users).await.live, world.people().await.len()), (1, 2));
    assert_eq!(node.standing().owner.as_deref(), Some("a"), "what is read goes on: nobody need give way");

    world.skip("users", fault).await;
    let versions = world.until(&Users, |versions| versions.live == 2).await;
    assert_eq!(versions.get(2).unwrap().differed, None, "other folds make other rows");
    let rows = world.rows(&next().table(2)).await;
    assert!(rows.len() == 2 && rows.iter().all(|row| row["types"][0] == "UserRegistered"), "{rows:?}");
    verify::verify(&Next, &world.sources(), Some(1), &mut |_, _| {}).await.unwrap();
    verify::verify(&Next, &world.sources(), Some(2), &mut |_, _| {}).await.unwrap();
    let told = verify::verify(&Users, &world.sources(), None, &mut |_, _| {}).await.unwrap_err();
    assert!(told.to_string().contains("another version of Aegis"), "{told}");
}

#[tokio::test(start_paused = true)]
async fn what_an_operator_has_cancelled_is_not_begun_again_until_they_ask_for_it() {
    // The new fold stumbles over the second event, and is being built for as long as it does.
    let world = World::crowd(1, 2).await;
    let node = world.node(&Next, "a");
    world.until(&Users, |versions| versions.building().is_some()).await;
    models::cancel(next(), &world.sources()).await.unwrap();
    world.until(&Users, |versions| versions.get(2).is_none()).await;
    sleep(Duration::from_secs(10)).await;
    node.stop().await;
    let _again = world.node(&Next, "b");
    sleep(Duration::from_secs(10)).await;
    assert_eq!(world.versions(&Users).await.describe(), "1 is live");
    models::rebuild(next(), &world.sources(), "operator:ada", world.ambient.now()).await.unwrap();
    world.until(&Users, |versions| versions.describe() == "1 is live, 3 is being built").await;
}

#[tokio::test(start_paused = true)]
async fn a_version_that_no_program_keeps_any_more_is_dropped_once_it_is_not_read() {
    let world = World::crowd(1, 1).await;
    let known = world.node(&Next, "a");
    world.until(&Users, |versions| versions.live == 2).await;
    known.stop().await;
    assert_eq!(world.versions(&Users).await.describe(), "1 is kept, 2 is live");
    // Two releases on, version 1 of the fold is forgotten.
    let _later = world.node(&Later, "b");
    let versions = world.until(&Users, |versions| versions.get(1).is_none() && versions.live == 3).await;
    assert_eq!(versions.describe(), "2 is kept, 3 is live");
    assert!(world.rows(&next().table(1)).await.is_empty());
}

#[tokio::test(start_paused = true)]
async fn nobody_is_taken_to_a_version_that_the_program_cannot_read() {
    let world = World::crowd(1, 1).await;
    let _node = world.node(&Next, "a");
    world.until(&Users, |versions| versions.live == 2).await;
    models::roll_back(next(), &world.sources(), Some(1)).await.unwrap();
    let told = models::roll_back(&Users, &world.sources(), Some(2)).await.unwrap_err();
    assert!(matches!(told, ChangeError::Unknown("users", 2, 2)), "{told}");
    assert_eq!(world.versions(&Users).await.live, 1);
}

#[tokio::test(start_paused = true)]
async fn an_older_program_triggers_nothing_and_gives_way_to_one_that_knows_the_fold() {
    let mut world = World::new(2).await;
    world.command(0, register("ada")).await;
    let new = world.node(&Next, "new");
    let upgraded = world.until(&Users, |versions| versions.live == 2).await;
    new.stop().await;

    let old = world.node(&Users, "old");
    let unknown = says(&old, |standing| {
        standing.report.versions.get(&2).is_some_and(|next| matches!(next.health, Health::Unknown(_)))
    });
    assert_eq!(unknown.await.owner.as_deref(), Some("old"));
    sleep(Duration::from_secs(20)).await;
    assert_eq!(world.versions(&Users).await, upgraded, "it builds nothing");

    let others = [world.node(&Users, "another old"), world.node(&Next, "new")];
    world.command(1, register("bob")).await;
    world.reached(&Users, 2, world.head().await).await;
    says(&others[1], |standing| standing.owner.as_deref() == Some("new")).await;
    assert_eq!(world.versions(&Users).await, upgraded);
}

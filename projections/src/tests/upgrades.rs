//! A program in which a fold has changed: the new rows are made by themselves, beside the old ones, which stay current.

use std::time::Duration;

use domain::{Command, Role};
use tokio::time::sleep;

use super::other_folds::Next;
use super::world::{World, register, says};
use crate::{Health, Projection, Users, verify};

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

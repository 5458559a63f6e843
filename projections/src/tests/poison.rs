//! An event that cannot be taken in: nothing is skipped unless an operator, or a better program, knows what to do.

use std::time::Duration;

use domain::{Command, Role};
use store::{Checkpoint, Position, ReadModels};
use tokio::time::{Instant, sleep};

use super::other_folds::Mended;
use super::world::{World, register, says};
use crate::runner::{RunnerHandle, Standing};
use crate::{Daily, Health, Projection, Users};

fn users() -> &'static dyn Projection {
    &Users
}

fn halted(standing: &Standing) -> Option<&str> {
    let shown = standing.report.versions.get(&1)?;
    matches!(shown.health, Health::Halted(_)).then(|| shown.health.error()).flatten()
}

/// Ada, what is not understood, and bob; a node that halts on it.
async fn poisoned() -> (World, RunnerHandle, Position) {
    let mut world = World::new(3).await;
    let node = world.node(&Users, "a");
    world.command(0, register("ada")).await;
    let poison = world.stranger(1).await;
    world.command(2, register("bob")).await;
    says(&node, |standing| halted(standing).is_some()).await;
    (world, node, poison)
}

#[tokio::test(start_paused = true)]
async fn a_poison_event_halts_after_what_was_good_until_another_hand_passes_it() {
    let (world, node, poison) = poisoned().await;
    let standing = node.standing();
    assert_eq!((poison, standing.report.versions[&1].position), (Position::new(2), 1));
    let why = halted(&standing).unwrap();
    assert!(why.contains("position 2") && why.contains("FromTheFuture"), "{why}");
    assert_eq!(world.people().await.len(), 1, "nothing after a poison event is projected");

    // A node that knows the event moves the checkpoint past it.
    let table = users().table(1);
    let at = world.memory.checkpoint(&table).await.unwrap();
    let to = Checkpoint { position: poison, ..at };
    world.memory.apply(&table, at, to, Vec::new()).await.unwrap();
    world.reached(&Users, 1, Position::new(3)).await;
    assert_eq!(world.people().await.len(), 2);
    says(&node, |standing| standing.report.versions.get(&1).is_some_and(|one| one.health == Health::Running))
        .await;
}

#[tokio::test(start_paused = true)]
async fn a_projection_halts_alone() {
    let mut world = World::new(2).await;
    let nodes = [world.node(&super::other_folds::Next, "a"), world.node(&Daily, "a")];
    world.command(0, register("ada")).await;
    world.command(0, Command::GrantRole { role: Role::Auditor }).await;
    let next = says(&nodes[0], |standing| {
        standing.report.versions.get(&2).is_some_and(|next| next.health.name() == "halted")
    });
    next.await;
    world.command(1, register("bob")).await;
    let head = world.head().await;
    world.reached(&Daily, 1, head).await;
    world.reached(&Users, 1, head).await;
}

#[tokio::test(start_paused = true)]
async fn who_is_halted_gives_way_and_a_program_that_knows_the_event_goes_on_by_itself() {
    let (world, first, _) = poisoned().await;
    let others = [world.node(&Users, "b"), world.node(&Mended, "c")];
    let [_, mended] = &others;
    says(mended, |standing| standing.owner.as_deref() == Some("c")).await;
    world.reached(&Users, 1, world.head().await).await;
    assert_eq!(world.people().await.len(), 2);
    // Once it is taken in, nobody has to give way any more.
    says(&first, |standing| standing.owner.as_deref() == Some("c")).await;
    sleep(Duration::from_secs(20)).await;
    assert_eq!(mended.standing().owner.as_deref(), Some("c"));
}

#[tokio::test(start_paused = true)]
async fn two_who_are_halted_do_not_pass_it_to_and_fro_before_a_third() {
    // Who looks when, as seen from the others, decides who is first.
    for late in (0..1600).step_by(50) {
        let (world, _first, _) = poisoned().await;
        sleep(Duration::from_millis(late % 7 * 100)).await;
        let _second = world.node(&Users, "b");
        sleep(Duration::from_millis(5_000 + late)).await;
        let mended = world.node(&Mended, "c");
        let begun = Instant::now();
        says(&mended, |standing| standing.owner.as_deref() == Some("c")).await;
        assert!(begun.elapsed() < Duration::from_secs(10), "{late}: {:?}", begun.elapsed());
        world.reached(&Users, 1, world.head().await).await;
    }
}

#[tokio::test(start_paused = true)]
async fn a_skip_is_of_one_projection_alone() {
    let (world, node, poison) = poisoned().await;
    world.skip("daily", poison).await;
    sleep(Duration::from_secs(10)).await;
    assert!(halted(&node.standing()).is_some(), "that was another one's");
    assert_eq!(world.people().await.len(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_recorded_skip_lets_it_go_on_and_its_rebuild_too() {
    let (world, _node, poison) = poisoned().await;
    world.skip("users", poison).await;
    world.reached(&Users, 1, world.head().await).await;
    let kept = world.people().await;
    assert_eq!(kept.len(), 2);
    let versions = world.rebuild(&Users).await;
    assert_eq!(versions.get(2).unwrap().differed, Some(false));
    assert_eq!(world.people().await, kept);
    crate::verify::verify(&Users, &world.sources(), None, &mut |_, _| {}).await.unwrap();
}

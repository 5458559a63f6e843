//! Poison events: none is skipped unless an operator decides so or another release can apply it.

use std::time::Duration;

use domain::{Role, UserCommand};
use store::{Position, ProjectionCheckpoint, ReadModelStore};
use tokio::time::{Instant, sleep};

use super::fixture::{Fixture, register, users_version, wait_for_status};
use super::other_versions::FixedUsers;
use crate::runner::{ProjectionHandle, ProjectionLeadership};
use crate::{Daily, Projection, Users, VersionHealth};

fn users() -> &'static dyn Projection {
    &Users
}

fn halted(status: &ProjectionLeadership) -> Option<&str> {
    let shown = users_version(status, 1)?;
    matches!(shown.health, VersionHealth::Halted(_)).then(|| shown.health.error()).flatten()
}

/// Ada, a poison event, and bob; a node that halts on it.
async fn poisoned() -> (Fixture, ProjectionHandle, Position) {
    let mut fixture = Fixture::new(3).await;
    let node = fixture.node(&Users, "a");
    fixture.command(0, register("ada")).await;
    let poison = fixture.append_unknown_event(1).await;
    fixture.command(2, register("bob")).await;
    wait_for_status(&node, |status| halted(status).is_some()).await;
    (fixture, node, poison)
}

#[tokio::test(start_paused = true)]
async fn poison_event_halts_the_projection_until_another_node_advances_the_checkpoint() {
    let (fixture, node, poison) = poisoned().await;
    let status = node.status();
    assert_eq!((poison, users_version(&status, 1).unwrap().position), (Position::new(2), 1));
    let why = halted(&status).unwrap();
    assert!(why.contains("position 2") && why.contains("FromTheFuture"), "{why}");
    assert_eq!(fixture.live_users().await.len(), 1, "nothing after a poison event is projected");

    // A node that knows the event moves the checkpoint past it.
    let table = users().table(1);
    let at = fixture.memory.checkpoint(&table).await.unwrap();
    let to = ProjectionCheckpoint { position: poison, ..at };
    fixture.memory.apply(&table, at, to, Vec::new()).await.unwrap();
    fixture.reached(&Users, 1, Position::new(3)).await;
    assert_eq!(fixture.live_users().await.len(), 2);
    wait_for_status(&node, |status| {
        users_version(status, 1).is_some_and(|one| one.health == VersionHealth::Running)
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn halted_projection_does_not_stop_others() {
    let mut fixture = Fixture::new(2).await;
    let node = fixture.node_of(&[&super::other_versions::UsersV2, &Daily], "a");
    fixture.command(0, register("ada")).await;
    fixture.command(0, UserCommand::GrantRole { role: Role::Auditor }).await;
    let next = wait_for_status(&node, |status| {
        users_version(status, 2).is_some_and(|next| next.health.name() == "halted")
    });
    next.await;
    fixture.command(1, register("bob")).await;
    let head = fixture.head().await;
    fixture.reached(&Daily, 1, head).await;
    fixture.reached(&Users, 1, head).await;
}

#[tokio::test(start_paused = true)]
async fn halted_leader_yields_to_a_release_that_knows_the_event() {
    let (fixture, first, _) = poisoned().await;
    let others = [fixture.node(&Users, "b"), fixture.node(&FixedUsers, "c")];
    let [_, fixed] = &others;
    wait_for_status(fixed, |status| status.owner.as_deref() == Some("c")).await;
    fixture.reached(&Users, 1, fixture.head().await).await;
    assert_eq!(fixture.live_users().await.len(), 2);
    // Once it is applied, no node yields any more.
    wait_for_status(&first, |status| status.owner.as_deref() == Some("c")).await;
    sleep(Duration::from_secs(20)).await;
    assert_eq!(fixed.status().owner.as_deref(), Some("c"));
}

#[tokio::test(start_paused = true)]
async fn two_halted_nodes_do_not_starve_a_third() {
    // The phase of the checks decides which node is first.
    for late in (0..1600).step_by(50) {
        let (fixture, _first, _) = poisoned().await;
        sleep(Duration::from_millis(late % 7 * 100)).await;
        let _second = fixture.node(&Users, "b");
        sleep(Duration::from_millis(5_000 + late)).await;
        let fixed = fixture.node(&FixedUsers, "c");
        let begun = Instant::now();
        wait_for_status(&fixed, |status| status.owner.as_deref() == Some("c")).await;
        assert!(begun.elapsed() < Duration::from_secs(10), "{late}: {:?}", begun.elapsed());
        fixture.reached(&Users, 1, fixture.head().await).await;
    }
}

#[tokio::test(start_paused = true)]
async fn skip_applies_to_one_projection_only() {
    let (fixture, node, poison) = poisoned().await;
    fixture.skip("daily", poison).await;
    sleep(Duration::from_secs(10)).await;
    assert!(halted(&node.status()).is_some(), "that was another one's");
    assert_eq!(fixture.live_users().await.len(), 1);
}

#[tokio::test(start_paused = true)]
async fn recorded_skip_resumes_the_projection_and_its_rebuild() {
    let (fixture, _node, poison) = poisoned().await;
    fixture.skip("users", poison).await;
    fixture.reached(&Users, 1, fixture.head().await).await;
    let kept = fixture.live_users().await;
    assert_eq!(kept.len(), 2);
    let versions = fixture.rebuild(&Users).await;
    assert_eq!(versions.get(2).unwrap().differed, Some(false));
    assert_eq!(fixture.live_users().await, kept);
    crate::verify::verify(&Users, &fixture.context(), None, &mut |_, _| {}).await.unwrap();
}

//! Of all nodes one keeps a projection; when it is gone, another one does.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use domain::Command;
use store::{Lease, Leases};
use tokio::time::{Instant, sleep};

use super::watched::Watched;
use super::world::{World, says};
use crate::{Health, Users};

#[tokio::test(start_paused = true)]
async fn one_node_keeps_it_and_the_others_stand_by_and_say_what_it_says() {
    let mut world = World::crowd(3, 1).await;
    let first = world.node(&Users, "a");
    says(&first, |standing| standing.owner.as_deref() == Some("a")).await;
    let watched = Watched::new(&world.memory, Duration::ZERO);
    let sources = world.sources_over(Arc::new(watched.clone()), Arc::new(watched.clone()));
    let second = world.node_over(sources, &Users, "b");
    world.command(0, Command::Deactivate { reason: None }).await;
    let head = world.head().await;
    world.reached(&Users, 1, head).await;
    let shown = says(&second, |standing| {
        standing.report.versions.get(&1).is_some_and(|shown| shown.position == head.get())
    })
    .await;
    assert_eq!((shown.owner.as_deref(), &shown.report.versions[&1].health), (Some("a"), &Health::Running));
    // When it was said is known to each by another clock.
    let (theirs, ours) = (shown, first.standing());
    assert_eq!((theirs.owner, theirs.report), (ours.owner, ours.report));
    sleep(Duration::from_secs(10)).await;
    assert_eq!(second.standing().owner.as_deref(), Some("a"), "it is renewed");
    assert!(watched.writes_to("users_1").is_empty(), "who stands by writes nothing");

    first.stop().await;
    let stopped = Instant::now();
    says(&second, |standing| standing.owner.as_deref() == Some("b")).await;
    assert!(stopped.elapsed() < Duration::from_secs(2), "it was given back: {:?}", stopped.elapsed());
    assert_eq!(world.memory.leases().await.unwrap()[0].holder, "b");
}

#[tokio::test(start_paused = true)]
async fn a_renewal_that_is_under_way_does_not_overtake_the_return_of_the_lease() {
    // Whenever the node stops, as seen from the last renewal.
    for after in (0..1_500).step_by(50) {
        let world = World::crowd(1, 1).await;
        let watched = Watched::new(&world.memory, Duration::from_millis(200));
        let sources = world.sources_over(Arc::new(watched.clone()), Arc::new(watched));
        let node = world.node_over(sources, &Users, "a");
        sleep(Duration::from_millis(after)).await;
        node.stop().await;
        sleep(Duration::from_millis(500)).await;
        let leases = world.memory.leases().await.unwrap();
        assert!(!leases.iter().any(Lease::is_held), "{after} ms: {leases:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_node_that_has_vanished_is_taken_over_from_within_three_seconds() {
    // Whenever it is, as seen from the last renewal and from the last look.
    for late in (0..2400).step_by(150) {
        let mut world = World::crowd(3, 1).await;
        let watched = Watched::new(&world.memory, Duration::ZERO);
        let sources = world.sources_over(Arc::new(watched.clone()), Arc::new(watched.clone()));
        let first = world.node_over(sources, &Users, "a");
        says(&first, |standing| standing.owner.as_deref() == Some("a")).await;
        sleep(Duration::from_millis(late / 3)).await;
        let second = world.node(&Users, "b");
        sleep(Duration::from_millis(late)).await;
        watched.vanished.store(true, Ordering::Relaxed);
        drop(first);
        let vanished = Instant::now();
        world.command(0, Command::Deactivate { reason: None }).await;
        world.reached(&Users, 1, world.head().await).await;
        assert!(vanished.elapsed() < Duration::from_secs(3), "{late}: {:?}", vanished.elapsed());
        says(&second, |standing| standing.owner.as_deref() == Some("b")).await;
    }
}

//! Leader election of projection runners: one node leads, and is replaced when it fails.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use domain::UserCommand;
use store::{Lease, LeaseStore};
use tokio::time::{Instant, sleep};

use super::fixture::{Fixture, users_version, wait_for_status};
use super::recording_backend::RecordingBackend;
use crate::{Users, VersionHealth};

#[tokio::test(start_paused = true)]
async fn one_node_leads_and_followers_report_its_status() {
    let mut fixture = Fixture::with_users(3, 1).await;
    let first = fixture.node(&Users, "a");
    wait_for_status(&first, |status| status.owner.as_deref() == Some("a")).await;
    let recording = RecordingBackend::new(&fixture.memory, Duration::ZERO);
    let context = fixture.context_over(Arc::new(recording.clone()), Arc::new(recording.clone()));
    let second = fixture.node_over(context, &Users, "b");
    fixture.command(0, UserCommand::Deactivate { reason: None }).await;
    let head = fixture.head().await;
    fixture.reached(&Users, 1, head).await;
    let shown = wait_for_status(&second, |status| {
        users_version(status, 1).is_some_and(|shown| shown.position == head.get())
    })
    .await;
    assert_eq!(
        (shown.owner.as_deref(), &users_version(&shown, 1).unwrap().health),
        (Some("a"), &VersionHealth::Running)
    );
    // Each node measures the report time with its own clock.
    let (theirs, ours) = (shown, first.status());
    assert_eq!((theirs.owner, theirs.report), (ours.owner, ours.report));
    sleep(Duration::from_secs(10)).await;
    assert_eq!(second.status().owner.as_deref(), Some("a"), "it is renewed");
    assert!(recording.writes_to("users_1").is_empty(), "followers write nothing");

    first.stop().await;
    let stopped = Instant::now();
    wait_for_status(&second, |status| status.owner.as_deref() == Some("b")).await;
    assert!(stopped.elapsed() < Duration::from_secs(2), "it was given back: {:?}", stopped.elapsed());
    assert_eq!(fixture.memory.list_leases().await.unwrap()[0].holder, "b");
}

#[tokio::test(start_paused = true)]
async fn release_waits_for_the_renewal_in_flight() {
    // At any time relative to the last renewal.
    for after in (0..1_500).step_by(50) {
        let fixture = Fixture::with_users(1, 1).await;
        let recording = RecordingBackend::new(&fixture.memory, Duration::from_millis(200));
        let context = fixture.context_over(Arc::new(recording.clone()), Arc::new(recording));
        let node = fixture.node_over(context, &Users, "a");
        sleep(Duration::from_millis(after)).await;
        node.stop().await;
        sleep(Duration::from_millis(500)).await;
        let leases = fixture.memory.list_leases().await.unwrap();
        assert!(!leases.iter().any(Lease::is_held), "{after} ms: {leases:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn lost_leader_is_replaced_within_three_seconds() {
    // At any time relative to the last renewal and the last check.
    for late in (0..2400).step_by(150) {
        let mut fixture = Fixture::with_users(3, 1).await;
        let recording = RecordingBackend::new(&fixture.memory, Duration::ZERO);
        let context = fixture.context_over(Arc::new(recording.clone()), Arc::new(recording.clone()));
        let first = fixture.node_over(context, &Users, "a");
        wait_for_status(&first, |status| status.owner.as_deref() == Some("a")).await;
        sleep(Duration::from_millis(late / 3)).await;
        let second = fixture.node(&Users, "b");
        sleep(Duration::from_millis(late)).await;
        recording.disconnected.store(true, Ordering::Relaxed);
        drop(first);
        let disconnected = Instant::now();
        fixture.command(0, UserCommand::Deactivate { reason: None }).await;
        fixture.reached(&Users, 1, fixture.head().await).await;
        assert!(disconnected.elapsed() < Duration::from_secs(3), "{late}: {:?}", disconnected.elapsed());
        wait_for_status(&second, |status| status.owner.as_deref() == Some("b")).await;
    }
}

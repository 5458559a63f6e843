//! The lane: current versions share their transactions; what halts or is built runs beside them.

use std::sync::Arc;
use std::time::Duration;

use domain::{Role, UserCommand};
use store::{Envelope, PersonalData, Row, StoredEvent, TableSchema};
use tokio::time::sleep;

use super::fixture::{Fixture, register, users_version, wait_for_status};
use super::other_versions::UsersV2;
use super::recording_backend::RecordingBackend;
use crate::runner::{ProjectionHandle, ProjectionLeadership, ProjectionRunner};
use crate::{Daily, PoisonEvent, Projection, Users, Webhooks, lifecycle};

const ALL: [&'static dyn Projection; 3] = [&Users, &Daily, &Webhooks];

/// A node whose writes are recorded, once all versions have joined the lane.
async fn recorded(
    fixture: &Fixture,
    projections: &[&'static dyn Projection],
) -> (RecordingBackend, ProjectionHandle) {
    let recording = RecordingBackend::new(&fixture.memory, Duration::ZERO);
    let context = fixture.context_over(Arc::new(recording.clone()), Arc::new(recording.clone()));
    let node = ProjectionRunner::new(projections, context, fixture.env.clone(), "a").start();
    sleep(Duration::from_secs(5)).await;
    recording.take_transactions();
    (recording, node)
}

/// The tables of each transaction, sorted.
fn transactions(recording: &RecordingBackend) -> Vec<Vec<String>> {
    let mut transactions = recording.take_transactions();
    for tables in &mut transactions {
        tables.sort();
    }
    transactions
}

#[tokio::test(start_paused = true)]
async fn one_transaction_moves_all_current_read_models() {
    let mut fixture = Fixture::new(2).await;
    let (recording, _node) = recorded(&fixture, &ALL).await;
    for who in 0..2 {
        fixture.command(who, register(&format!("user{who}"))).await;
        fixture.reached(&Webhooks, 1, fixture.head().await).await;
        assert_eq!(transactions(&recording), [["daily_1", "users_1", "webhooks_1"]]);
    }
    assert_eq!(fixture.live_users().await.len(), 2);
}

/// A node that runs `users`, `daily` and [`Fragile`].
async fn with_fragile(fixture: &Fixture) -> (RecordingBackend, ProjectionHandle) {
    lifecycle::open(&Fragile, &fixture.context(), "system", fixture.env.now()).await.unwrap();
    recorded(fixture, &[&Users, &Daily, &Fragile]).await
}

#[tokio::test(start_paused = true)]
async fn halted_version_leaves_the_lane_and_joins_again_after_a_skip() {
    let mut fixture = Fixture::new(3).await;
    let (recording, node) = with_fragile(&fixture).await;
    fixture.command(0, register("ada")).await;
    fixture.command(0, UserCommand::GrantRole { role: Role::Auditor }).await;
    let poison = fixture.head().await;
    wait_for_status(&node, |status| {
        let fragile = status.report.get("fragile").and_then(|report| report.versions.get(&1));
        fragile.is_some_and(|fragile| (fragile.health.name(), fragile.position) == ("halted", 1))
    })
    .await;
    assert_eq!(users_version(&node.status(), 1).unwrap().health.name(), "running");
    fixture.reached(&Users, 1, poison).await;
    recording.take_transactions();
    fixture.command(1, register("bob")).await;
    fixture.reached(&Users, 1, fixture.head().await).await;
    fixture.reached(&Daily, 1, fixture.head().await).await;
    assert_eq!(transactions(&recording), [["daily_1", "users_1"]]);

    fixture.skip("fragile", poison).await;
    fixture.reached(&Fragile, 1, fixture.head().await).await;
    sleep(Duration::from_secs(1)).await;
    recording.take_transactions();
    fixture.command(2, register("eve")).await;
    fixture.reached(&Users, 1, fixture.head().await).await;
    assert_eq!(transactions(&recording), [["daily_1", "fragile_1", "users_1"]]);
}

#[tokio::test(start_paused = true)]
async fn halted_version_never_pauses_the_others_although_its_leader_offers_the_lease() {
    let mut fixture = Fixture::new(41).await;
    let (_recording, _node) = with_fragile(&fixture).await;
    fixture.command(40, register("halting")).await;
    fixture.command(40, UserCommand::GrantRole { role: Role::Auditor }).await;
    for who in 0..40 {
        fixture.command(who, register(&format!("user{who}"))).await;
        let head = fixture.head().await;
        let reached = fixture.store.wait_until_applied("users_1", head, Duration::from_millis(50)).await;
        assert!(reached, "event {head} waited for more than 50 ms");
        sleep(Duration::from_millis(250)).await;
    }
}

#[tokio::test(start_paused = true)]
async fn table_that_cannot_be_written_holds_up_no_other() {
    let mut fixture = Fixture::new(12).await;
    let (recording, node) = recorded(&fixture, &ALL).await;
    *recording.failing.lock().unwrap() = Some("daily_1".to_owned());
    for who in 0..10 {
        fixture.command(who, register(&format!("user{who}"))).await;
        let head = fixture.head().await;
        let reached = fixture.store.wait_until_applied("users_1", head, Duration::from_millis(500)).await;
        assert!(reached, "event {head} waited for more than 500 ms");
    }
    let daily =
        |status: &ProjectionLeadership| Some(status.report.get("daily")?.versions.get(&1)?.health.name());
    wait_for_status(&node, |status| daily(status) == Some("failing")).await;
    *recording.failing.lock().unwrap() = None;
    fixture.reached(&Daily, 1, fixture.head().await).await;
    sleep(Duration::from_secs(5)).await;
    recording.take_transactions();
    fixture.command(10, register("last")).await;
    fixture.reached(&Daily, 1, fixture.head().await).await;
    assert_eq!(transactions(&recording), [["daily_1", "users_1", "webhooks_1"]]);
}

#[tokio::test(start_paused = true)]
async fn rebuild_runs_beside_the_lane_and_the_new_version_joins_it() {
    let mut fixture = Fixture::with_users(3, 700).await;
    let (recording, _node) = recorded(&fixture, &ALL).await;
    let asked = fixture.begin_rebuild(&Users).await.unwrap();
    fixture.command(0, UserCommand::Deactivate { reason: None }).await;
    fixture.until(&Users, |versions| versions.live == asked.last).await;
    let beside = transactions(&recording);
    assert!(beside.contains(&vec!["users_2".to_owned()]), "the rebuild runs by itself: {beside:?}");
    assert!(beside.iter().all(|tables| tables.len() != 1 || tables[0] == "users_2"), "{beside:?}");
    sleep(Duration::from_secs(1)).await;
    recording.take_transactions();
    fixture.command(0, UserCommand::Reactivate { reason: None }).await;
    fixture.reached(&Users, 2, fixture.head().await).await;
    assert_eq!(transactions(&recording), [["daily_1", "users_1", "users_2", "webhooks_1"]]);
    let [users, ..] = ALL;
    assert_eq!(fixture.rows(&users.table(1)).await, fixture.live_rows(&Users).await);
}

#[tokio::test(start_paused = true)]
async fn dropped_version_leaves_the_lane() {
    let mut fixture = Fixture::with_users(2, 1).await;
    let (recording, _node) = recorded(&fixture, &ALL).await;
    fixture.rebuild(&Users).await;
    lifecycle::drop(&Users, &fixture.context(), 1).await.unwrap();
    fixture.until(&Users, |versions| versions.get(1).is_none()).await;
    sleep(Duration::from_secs(1)).await;
    recording.take_transactions();
    fixture.command(0, UserCommand::Deactivate { reason: None }).await;
    fixture.reached(&Users, 2, fixture.head().await).await;
    assert_eq!(transactions(&recording), [["daily_1", "users_2", "webhooks_1"]]);
}

#[tokio::test(start_paused = true)]
async fn upgrade_that_halts_never_enters_the_lane() {
    let mut fixture = Fixture::new(2).await;
    let (recording, node) = recorded(&fixture, &[&UsersV2, &Daily, &Webhooks]).await;
    fixture.command(0, register("ada")).await;
    fixture.command(0, UserCommand::GrantRole { role: Role::Auditor }).await;
    sleep(Duration::from_secs(2)).await;
    recording.take_transactions();
    fixture.command(1, register("bob")).await;
    fixture.reached(&Users, 1, fixture.head().await).await;
    fixture.reached(&Daily, 1, fixture.head().await).await;
    let written = transactions(&recording);
    assert!(
        written.contains(&["daily_1", "users_1", "webhooks_1"].map(str::to_owned).to_vec()),
        "{written:?}"
    );
    drop(node);
}

static STREAMS: TableSchema =
    TableSchema { columns: &[store::Column { name: "stream", kind: store::ColumnKind::Text }], indexes: &[] };

fn stream_row(event: &StoredEvent) -> Row {
    Row::from_iter([("stream".to_owned(), event.envelope.stream.as_str().into())])
}

/// A projection that halts on `RoleGranted`.
struct Fragile;

impl Projection for Fragile {
    fn name(&self) -> &'static str {
        "fragile"
    }

    fn schema(&self) -> &'static TableSchema {
        &STREAMS
    }

    fn key(&self, event: &Envelope) -> Option<String> {
        Users.key(event)
    }

    fn fold(&self, _: Option<Row>, event: &StoredEvent) -> Result<Option<Row>, PoisonEvent> {
        match event.envelope.event_type.as_str() {
            "RoleGranted" => Err(PoisonEvent::new(event, &"this program has a fault")),
            _ => Ok(Some(stream_row(event))),
        }
    }
}

/// A projection that reads no personal data and fails if it receives any.
struct NothingPersonal;

impl Projection for NothingPersonal {
    fn name(&self) -> &'static str {
        "nothing_personal"
    }

    fn schema(&self) -> &'static TableSchema {
        &STREAMS
    }

    fn reads_personal(&self) -> bool {
        false
    }

    fn key(&self, event: &Envelope) -> Option<String> {
        Some(event.stream.as_str().to_owned())
    }

    fn fold(&self, _: Option<Row>, event: &StoredEvent) -> Result<Option<Row>, PoisonEvent> {
        if event.personal != PersonalData::Erased {
            return Err(PoisonEvent::new(event, &"it received personal data"));
        }
        Ok(Some(stream_row(event)))
    }
}

#[tokio::test(start_paused = true)]
async fn sharing_a_batch_reveals_no_personal_data_to_a_projection_that_reads_none() {
    let mut fixture = Fixture::new(2).await;
    lifecycle::open(&NothingPersonal, &fixture.context(), "system", fixture.env.now()).await.unwrap();
    let (recording, _node) = recorded(&fixture, &[&Users, &NothingPersonal]).await;
    fixture.command(0, register("ada")).await;
    fixture.reached(&NothingPersonal, 1, fixture.head().await).await;
    assert_eq!(transactions(&recording), [["nothing_personal_1", "users_1"]]);
    assert_eq!(fixture.live_users().await.len(), 1);
}

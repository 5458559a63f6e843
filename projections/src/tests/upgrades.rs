//! Upgrades: a changed projection is rebuilt automatically beside the live version, which stays current.

use std::time::Duration;

use domain::{Role, UserCommand};
use tokio::time::sleep;

use super::fixture::{Fixture, register, users_version, wait_for_status};
use super::other_versions::{UsersV2, UsersV3};
use crate::{ChangeError, Projection, Users, VersionHealth, lifecycle, verify};

fn next() -> &'static dyn Projection {
    &UsersV2
}

#[tokio::test(start_paused = true)]
async fn new_projection_version_is_rebuilt_automatically_while_the_previous_one_is_served() {
    let mut fixture = Fixture::new(2).await;
    fixture.command(0, register("ada")).await;
    let fault = {
        fixture.command(0, UserCommand::GrantRole { role: Role::Auditor }).await;
        fixture.head().await
    };
    let node = fixture.node(&UsersV2, "a");
    let versions = fixture.until(&Users, |versions| versions.building().is_some()).await;
    let building = versions.building().unwrap();
    assert_eq!((versions.live, building.number, building.fold), (1, 2, Users.version() + 1));
    assert!(building.by.starts_with("system"), "{}", building.by);

    // The new version halts; the previous one stays live.
    let halted = wait_for_status(&node, |status| {
        users_version(status, 2).is_some_and(|next| matches!(next.health, VersionHealth::Halted(_)))
    });
    halted.await;
    fixture.command(1, register("bob")).await;
    fixture.reached(&Users, 1, fixture.head().await).await;
    sleep(Duration::from_secs(10)).await;
    assert_eq!((fixture.versions(&Users).await.live, fixture.live_users().await.len()), (1, 2));
    assert_eq!(node.status().owner.as_deref(), Some("a"), "the live version runs: no need to yield");

    fixture.skip("users", fault).await;
    let versions = fixture.until(&Users, |versions| versions.live == 2).await;
    assert_eq!(versions.get(2).unwrap().differed, None, "other folds make other rows");
    let rows = fixture.rows(&next().table(2)).await;
    assert!(rows.len() == 2 && rows.iter().all(|row| row["types"][0] == "UserRegistered"), "{rows:?}");
    verify::verify(&UsersV2, &fixture.context(), Some(1), &mut |_, _| {}).await.unwrap();
    verify::verify(&UsersV2, &fixture.context(), Some(2), &mut |_, _| {}).await.unwrap();
    let error = verify::verify(&Users, &fixture.context(), None, &mut |_, _| {}).await.unwrap_err();
    assert!(error.to_string().contains("another version of Aegis"), "{error}");
}

#[tokio::test(start_paused = true)]
async fn cancelled_upgrade_is_not_restarted_automatically() {
    // The new version halts at the second event and stays in the building stage.
    let fixture = Fixture::with_users(1, 2).await;
    let node = fixture.node(&UsersV2, "a");
    fixture.until(&Users, |versions| versions.building().is_some()).await;
    lifecycle::cancel(next(), &fixture.context()).await.unwrap();
    fixture.until(&Users, |versions| versions.get(2).is_none()).await;
    sleep(Duration::from_secs(10)).await;
    node.stop().await;
    let _again = fixture.node(&UsersV2, "b");
    sleep(Duration::from_secs(10)).await;
    assert_eq!(fixture.versions(&Users).await.describe(), "1 is live");
    lifecycle::rebuild(next(), &fixture.context(), "operator:ada", fixture.env.now()).await.unwrap();
    fixture.until(&Users, |versions| versions.describe() == "1 is live, 3 is being built").await;
}

#[tokio::test(start_paused = true)]
async fn unsupported_version_is_dropped_once_it_is_not_live() {
    let fixture = Fixture::with_users(1, 1).await;
    let known = fixture.node(&UsersV2, "a");
    fixture.until(&Users, |versions| versions.live == 2).await;
    known.stop().await;
    assert_eq!(fixture.versions(&Users).await.describe(), "1 is kept, 2 is live");
    // Two releases later, version 1 is no longer supported.
    let _later = fixture.node(&UsersV3, "b");
    let versions = fixture.until(&Users, |versions| versions.get(1).is_none() && versions.live == 3).await;
    assert_eq!(versions.describe(), "2 is kept, 3 is live");
    assert!(fixture.rows(&next().table(1)).await.is_empty());
}

#[tokio::test(start_paused = true)]
async fn rollback_to_an_unsupported_version_is_rejected() {
    let fixture = Fixture::with_users(1, 1).await;
    let _node = fixture.node(&UsersV2, "a");
    fixture.until(&Users, |versions| versions.live == 2).await;
    lifecycle::roll_back(next(), &fixture.context(), Some(1)).await.unwrap();
    let error = lifecycle::roll_back(&Users, &fixture.context(), Some(2)).await.unwrap_err();
    let newest = UsersV2.version();
    assert!(matches!(error, ChangeError::Unknown("users", 2, version) if version == newest), "{error}");
    assert_eq!(fixture.versions(&Users).await.live, 1);
}

#[tokio::test(start_paused = true)]
async fn older_release_starts_no_rebuild_and_yields_to_a_newer_one() {
    let mut fixture = Fixture::new(2).await;
    fixture.command(0, register("ada")).await;
    let new = fixture.node(&UsersV2, "new");
    let upgraded = fixture.until(&Users, |versions| versions.live == 2).await;
    new.stop().await;

    let old = fixture.node(&Users, "old");
    let unknown = wait_for_status(&old, |status| {
        users_version(status, 2).is_some_and(|next| matches!(next.health, VersionHealth::Unknown(_)))
    });
    assert_eq!(unknown.await.owner.as_deref(), Some("old"));
    sleep(Duration::from_secs(20)).await;
    assert_eq!(fixture.versions(&Users).await, upgraded, "it builds nothing");

    let others = [fixture.node(&Users, "another old"), fixture.node(&UsersV2, "new")];
    fixture.command(1, register("bob")).await;
    fixture.reached(&Users, 2, fixture.head().await).await;
    wait_for_status(&others[1], |status| status.owner.as_deref() == Some("new")).await;
    assert_eq!(fixture.versions(&Users).await, upgraded);
}

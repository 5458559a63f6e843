//! Proving the rows: what is wrong is found and named, and what is right is proved in little memory.

use std::sync::Arc;
use std::time::Duration;

use domain::{Command, Role};
use serde_json::json;
use store::{Change, Checkpoint, ReadModels, Row, RowsDigest};

use super::watched::Watched;
use super::world::{ERASE, World};
use crate::verify::{Difference, Verified, VerifyError, verify, verify_within};
use crate::{Projection, UserActivity, Users, catch_up};

fn users() -> &'static dyn Projection {
    &Users
}

async fn prove(world: &World) -> Result<Verified, VerifyError> {
    verify(&Users, &world.sources(), None, &mut |_, _| {}).await
}

async fn difference(world: &World) -> Difference {
    match prove(world).await {
        Err(VerifyError::Differs(difference)) => difference,
        other => panic!("{other:?}"),
    }
}

/// As by hand in the database: the checkpoint, and its sum of rows, know nothing of it.
async fn doctor(world: &World, key: &str, row: Option<Row>) {
    let table = users().table(1);
    let at = world.memory.checkpoint(&table).await.unwrap();
    let change = Change { key: key.to_owned(), row, known: true };
    world.memory.apply(&table, at, at, vec![change]).await.unwrap();
}

/// Some users, as they are kept.
async fn kept(users: usize) -> (World, Vec<Row>) {
    kept_of(users, 3).await
}

async fn kept_of(users: usize, events: usize) -> (World, Vec<Row>) {
    let world = World::crowd(users, events).await;
    catch_up(&Users, &world.sources()).await.unwrap();
    let rows = world.live_rows(&Users).await;
    (world, rows)
}

fn id(row: &Row) -> &str {
    row["id"].as_str().unwrap()
}

#[tokio::test]
async fn rows_that_are_right_are_proved() {
    let (world, rows) = kept(20).await;
    let verified = prove(&world).await.unwrap();
    assert_eq!(
        (verified.table.as_str(), verified.rows, verified.position),
        ("users_1", 20, world.head().await)
    );
    assert_eq!(verified.digest, rows.iter().fold(RowsDigest::default(), RowsDigest::plus));
    let Checkpoint { digest, .. } = world.memory.checkpoint(&users().table(1)).await.unwrap();
    assert_eq!(verified.digest, digest, "what was kept row by row is what it comes to");
}

#[tokio::test]
async fn a_row_edited_by_hand_is_named_with_its_field() {
    let (world, rows) = kept(5).await;
    for (field, value) in
        [("roles", json!(["admin"])), ("is_active", json!(false)), ("username", json!(null))]
    {
        let mut wrong = rows[3].clone();
        wrong.insert(field.to_owned(), value);
        doctor(&world, id(&rows[3]), Some(wrong)).await;
        let found = difference(&world).await;
        assert_eq!((found.key.as_str(), found.field.as_deref()), (id(&rows[3]), Some(field)));
        let told = found.to_string();
        assert!(told.contains("users_1") && told.contains(id(&rows[3])) && told.contains(field), "{told}");
        assert!(!told.contains("user3@example.com") && !told.contains("admin"), "nothing personal: {told}");
        doctor(&world, id(&rows[3]), Some(rows[3].clone())).await;
    }
    prove(&world).await.unwrap();
}

#[tokio::test]
async fn a_row_that_is_missing_and_one_too_many_are_named() {
    let (world, rows) = kept(5).await;
    for row in &rows {
        doctor(&world, id(row), None).await;
        let found = difference(&world).await;
        assert_eq!((found.key.as_str(), &found.field), (id(row), &None));
        assert!(found.what.contains("missing"), "{found}");
        doctor(&world, id(row), Some(row.clone())).await;
    }
    for stranger in ["00000000-0000-7000-8000-000000000000", "ffffffff-0000-7000-8000-000000000000"] {
        let mut row = rows[0].clone();
        row.insert("id".to_owned(), json!(stranger));
        doctor(&world, stranger, Some(row)).await;
        let found = difference(&world).await;
        assert_eq!((found.key.as_str(), &found.field), (stranger, &None));
        assert!(found.what.contains("should not be there"), "{found}");
        doctor(&world, stranger, None).await;
    }
    prove(&world).await.unwrap();
}

#[tokio::test]
async fn little_memory_takes_several_passes_and_proves_the_same() {
    let (mut world, rows) = kept(40).await;
    // Somebody who comes and goes again leaves room behind, which what has gone for want of it must not fill.
    for who in [3, 17, 30] {
        world.command(who, ERASE).await;
    }
    catch_up(&Users, &world.sources()).await.unwrap();
    let at_once = prove(&world).await.unwrap();
    assert_eq!(at_once.rows, 37);
    let row_cost = serde_json::to_vec(&rows[0]).unwrap().len() + 200;
    for budget in [1, row_cost * 3, row_cost * 11, row_cost * 30] {
        let mut passes = 0;
        let mut last = 0;
        let mut count = |done, _| {
            passes += u32::from(done <= last);
            last = done;
        };
        let verified = verify_within(budget, &Users, &world.sources(), None, &mut count).await.unwrap();
        assert_eq!(verified, at_once, "{budget}");
        assert!(passes > 0, "{budget} bytes are enough for all of them");
        let rows = world.live_rows(&Users).await;
        for row in [rows.first().unwrap(), rows.last().unwrap()] {
            doctor(&world, id(row), None).await;
            let found = verify_within(budget, &Users, &world.sources(), None, &mut |_, _| {}).await;
            assert!(matches!(&found, Err(VerifyError::Differs(found)) if found.key == id(row)), "{found:?}");
            doctor(&world, id(row), Some(row.clone())).await;
        }
    }
}

#[tokio::test]
async fn what_has_gone_for_want_of_room_does_not_come_back_as_half_a_row() {
    let mut world = World::crowd(40, 1).await;
    let mut by_id: Vec<_> = (0..40).collect();
    by_id.sort_by_key(|who| world.users[*who].0.to_string());
    // The first leave room, and the last, whose beginnings have gone, go on.
    for who in &by_id[..3] {
        world.command(*who, ERASE).await;
    }
    for who in by_id[30..].iter().rev() {
        world.command(*who, Command::GrantRole { role: Role::Auditor }).await;
    }
    catch_up(&UserActivity, &world.sources()).await.unwrap();
    let at_once = verify(&UserActivity, &world.sources(), None, &mut |_, _| {}).await.unwrap();
    let rows = world.live_rows(&UserActivity).await;
    let row_cost = serde_json::to_vec(&rows[0]).unwrap().len() + 140;
    for fit in [5, 10, 15, 20, 25] {
        let proved =
            verify_within(row_cost * fit, &UserActivity, &world.sources(), None, &mut |_, _| {}).await;
        assert_eq!(proved.unwrap(), at_once, "{fit}");
    }
}

#[tokio::test(start_paused = true)]
async fn no_row_is_counted_twice_although_rows_grow_out_of_memory_meanwhile() {
    const A_PAGE: Duration = Duration::from_secs(10);
    let (mut world, rows) = kept_of(1_100, 1).await;
    let cost = |row: &Row| serde_json::to_vec(row).unwrap().len() + id(row).len() + 96;
    let budget = rows[..1_004].iter().map(cost).sum();
    let slow = Arc::new(Watched::new(&world.memory, A_PAGE));
    let sources = world.sources_over(slow.clone(), slow);
    let proving =
        tokio::spawn(async move { verify_within(budget, &Users, &sources, None, &mut |_, _| {}).await });
    // The first page is compared, the second is on its way.
    tokio::time::sleep(A_PAGE * 3 / 2).await;
    for who in 0..300 {
        for role in [Role::Admin, Role::Operator, Role::Auditor] {
            world.command(who, Command::GrantRole { role }).await;
        }
    }
    catch_up(&Users, &world.sources()).await.unwrap();
    let verified = proving.await.unwrap().unwrap();
    let Checkpoint { digest, .. } = world.memory.checkpoint(&users().table(1)).await.unwrap();
    assert_eq!(verified.rows, 1_100);
    // The first page was compared as it was before.
    assert_ne!(verified.digest, digest);
}

#[tokio::test(start_paused = true)]
async fn rows_are_proved_while_events_come() {
    let mut world = World::crowd(60, 4).await;
    let _node = world.node(&Users, "a");
    world.reached(&Users, 1, world.head().await).await;
    let begun = world.head().await;
    let slow = Arc::new(Watched::new(&world.memory, Duration::from_millis(20)));
    let sources = world.sources_over(slow.clone(), slow);
    let proving =
        tokio::spawn(async move { verify_within(4_000, &Users, &sources, None, &mut |_, _| {}).await });
    let mut number = 0;
    while !proving.is_finished() {
        let who = number % 59;
        let role = Role::Operator;
        if world.command(who, Command::GrantRole { role }).await.is_empty() {
            world.command(who, Command::RevokeRole { role }).await;
        }
        if number == 5 {
            world.command(59, ERASE).await;
        }
        number += 1;
        assert!(number < 20_000, "it does not end");
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    let verified = proving.await.unwrap().unwrap();
    assert!(verified.position > begun, "nothing came meanwhile");
    assert_eq!(verified.rows, 59, "each is counted once, and who is erased not at all");
}

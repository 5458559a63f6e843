//! The fold of `users`.

use domain::{Command, Role, User};
use jiff::Timestamp;
use proptest::prelude::*;
use store::Position;
use tokio::runtime::Builder;

use super::world::{ERASE, World, a_command, import, long_ago, register};
use crate::{Users, catch_up, decode};

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, failure_persistence: None, ..ProptestConfig::default() })]

    /// Whatever happened, and however it was cut into batches, the rows are what the log says.
    #[test]
    fn rebuilt_rows_equal_rows_kept_step_by_step(commands in proptest::collection::vec(a_command(), 0..60)) {
        Builder::new_current_thread().enable_all().start_paused(true).build().unwrap().block_on(async {
            let mut world = World::new(5).await;
            for (who, command) in commands {
                world.command(who, command).await;
                catch_up(&Users, &world.sources()).await.unwrap();
            }
            let kept = world.people().await;
            let _node = world.node(&Users, "a");
            let versions = world.rebuild(&Users).await;
            assert_eq!(versions.get(2).unwrap().differed, Some(false), "the sums say the same");
            assert_eq!(world.people().await, kept);
            let present = world.users.iter().filter(|(_, user, _)| matches!(user, User::Present(_))).count();
            assert_eq!(kept.len(), present);
            for row in kept {
                let (_, user, version) = world.users.iter().find(|(id, _, _)| *id == row.id).unwrap();
                let User::Present(account) = user else { panic!("a row of somebody who never registered") };
                assert_eq!((row.version, row.is_active, &row.roles), (*version, account.is_active, &account.roles));
                assert_eq!(account.email.known(), Some(&row.email));
                let registered_here = account.created_at.is_none();
                assert_eq!(row.created_at == decode::timestamp(long_ago()), !registered_here);
            }
        });
    }
}

#[tokio::test]
async fn events_that_end_tokens_raise_tokens_from_and_others_do_not() {
    let mut world = World::new(1).await;
    let mut seen = Vec::new();
    for command in [
        register("ada"),
        Command::GrantRole { role: Role::Auditor },
        Command::Deactivate { reason: None },
        Command::Reactivate { reason: None },
        Command::RevokeRole { role: Role::Auditor },
    ] {
        world.command(0, command).await;
        catch_up(&Users, &world.sources()).await.unwrap();
        let row = world.people().await.remove(0);
        seen.push((row.version, row.tokens_from));
    }
    assert_eq!(seen, [(1, 0), (2, 0), (3, 3), (4, 3), (5, 5)]);
}

#[tokio::test]
async fn an_imported_user_keeps_what_they_were_and_one_who_registers_begins_now() {
    let mut world = World::new(3).await;
    let before = world.ambient.now();
    world.command(0, import("ada", false)).await;
    world.command(1, import("bob", true)).await;
    world.command(2, register("eve")).await;
    catch_up(&Users, &world.sources()).await.unwrap();
    let rows = world.people().await;
    let row = |who: usize| rows.iter().find(|row| row.id == world.users[who].0).unwrap();
    let long_ago: Timestamp = "2019-05-04T03:02:01.007Z".parse().unwrap();
    assert_eq!((row(0).is_active, row(0).created_at), (false, long_ago));
    assert_eq!((row(1).is_active, row(1).created_at), (true, long_ago));
    assert!(row(2).is_active && row(2).created_at >= before);
    let ada = row(0);
    assert_eq!((ada.email.as_str(), ada.username.as_str()), ("ada@example.com", "ada"));
    assert_eq!((ada.password_hash.expose(), ada.roles.len()), ("$argon2id$…", 0));
    assert_eq!((ada.version, ada.tokens_from, ada.position), (1, 0, Position::new(1)));
}

#[tokio::test(start_paused = true)]
async fn an_erased_user_has_no_row_neither_now_nor_after_a_rebuild() {
    let mut world = World::new(3).await;
    world.command(0, register("ada")).await;
    world.command(1, import("bob", false)).await;
    world.command(2, register("eve")).await;
    catch_up(&Users, &world.sources()).await.unwrap();
    assert_eq!(world.people().await.len(), 3);
    // She is deactivated first; he was inactive already.
    assert_eq!(world.command(0, ERASE).await.len(), 2);
    assert_eq!(world.command(1, ERASE).await.len(), 1);
    catch_up(&Users, &world.sources()).await.unwrap();
    let kept = world.people().await;
    assert_eq!(kept.iter().map(|row| row.id).collect::<Vec<_>>(), [world.users[2].0]);
    let _node = world.node(&Users, "a");
    world.rebuild(&Users).await;
    assert_eq!(world.people().await, kept);
}

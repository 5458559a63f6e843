//! The fold of `users`.

use domain::{Role, User, UserCommand};
use jiff::Timestamp;
use proptest::prelude::*;
use store::Position;
use tokio::runtime::Builder;

use super::fixture::{ERASE, Fixture, any_command, change_password, import, long_ago, register, rename};
use crate::{Users, catch_up};

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, failure_persistence: None, ..ProptestConfig::default() })]

    /// Whatever happened, and however it was cut into batches, the rows are what the log says.
    #[test]
    fn rebuilt_rows_equal_incremental_rows(commands in proptest::collection::vec(any_command(), 0..60)) {
        Builder::new_current_thread().enable_all().start_paused(true).build().unwrap().block_on(async {
            let mut fixture = Fixture::new(5).await;
            for (who, command) in commands {
                fixture.command(who, command).await;
                catch_up(&Users, &fixture.context()).await.unwrap();
            }
            let kept = fixture.live_users().await;
            let _node = fixture.node(&Users, "a");
            let versions = fixture.rebuild(&Users).await;
            assert_eq!(versions.get(2).unwrap().differed, Some(false), "the sums say the same");
            assert_eq!(fixture.live_users().await, kept);
            let present = fixture.users.iter().filter(|(_, user, _)| matches!(user, User::Present(_))).count();
            assert_eq!(kept.len(), present);
            for row in kept {
                let (_, user, version) = fixture.users.iter().find(|(id, _, _)| *id == row.id).unwrap();
                let User::Present(account) = user else { panic!("a row of a user who never registered") };
                assert_eq!((row.version, row.is_active, &row.roles), (*version, account.is_active, &account.roles));
                assert_eq!(account.email.known(), Some(&row.email));
                assert_eq!((row.is_email_verified, row.version), (account.is_email_verified, account.version));
                assert_eq!(account.username.known(), Some(&row.username));
                assert_eq!(account.password_hash.as_ref().and_then(|hash| hash.known()), row.password_hash.as_ref());
                let registered_here = account.created_at.is_none();
                assert_eq!(row.created_at == event_codec::timestamp(long_ago()), !registered_here);
            }
        });
    }
}

#[tokio::test]
async fn only_token_revoking_events_raise_tokens_from() {
    let mut fixture = Fixture::new(1).await;
    let mut seen = Vec::new();
    for command in [
        register("ada"),
        UserCommand::GrantRole { role: Role::Auditor },
        UserCommand::Deactivate { reason: None },
        UserCommand::Reactivate { reason: None },
        UserCommand::RevokeRole { role: Role::Auditor },
        rename("eve", false),
        change_password(),
    ] {
        fixture.command(0, command).await;
        catch_up(&Users, &fixture.context()).await.unwrap();
        let row = fixture.live_users().await.remove(0);
        seen.push((row.version, row.tokens_from));
    }
    assert_eq!(seen, [(1, 0), (2, 0), (3, 3), (4, 3), (5, 5), (6, 5), (7, 7)]);
}

#[tokio::test]
async fn imported_user_keeps_creation_time_and_state() {
    let mut fixture = Fixture::new(3).await;
    let before = fixture.env.now();
    fixture.command(0, import("ada", false)).await;
    fixture.command(1, import("bob", true)).await;
    fixture.command(2, register("eve")).await;
    catch_up(&Users, &fixture.context()).await.unwrap();
    let rows = fixture.live_users().await;
    let row = |who: usize| rows.iter().find(|row| row.id == fixture.users[who].0).unwrap();
    let long_ago: Timestamp = "2019-05-04T03:02:01.007Z".parse().unwrap();
    assert_eq!((row(0).is_active, row(0).created_at), (false, long_ago));
    assert_eq!((row(1).is_active, row(1).created_at), (true, long_ago));
    assert!(row(2).is_active && row(2).created_at >= before);
    let ada = row(0);
    assert_eq!((ada.email.as_str(), ada.username.as_str()), ("ada@example.com", "ada"));
    assert_eq!((ada.password_hash.as_ref().unwrap().expose(), ada.roles.len()), ("$argon2id$…", 0));
    assert_eq!((ada.version, ada.tokens_from, ada.position), (1, 0, Position::new(1)));
}

#[tokio::test(start_paused = true)]
async fn erased_user_has_no_row_before_or_after_a_rebuild() {
    let mut fixture = Fixture::new(3).await;
    fixture.command(0, register("ada")).await;
    fixture.command(1, import("bob", false)).await;
    fixture.command(2, register("eve")).await;
    catch_up(&Users, &fixture.context()).await.unwrap();
    assert_eq!(fixture.live_users().await.len(), 3);
    // She is deactivated first; he was inactive already.
    assert_eq!(fixture.command(0, ERASE).await.len(), 2);
    assert_eq!(fixture.command(1, ERASE).await.len(), 1);
    catch_up(&Users, &fixture.context()).await.unwrap();
    let kept = fixture.live_users().await;
    assert_eq!(kept.iter().map(|row| row.id).collect::<Vec<_>>(), [fixture.users[2].0]);
    let _node = fixture.node(&Users, "a");
    fixture.rebuild(&Users).await;
    assert_eq!(fixture.live_users().await, kept);
}

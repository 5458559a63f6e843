//! The folds of `user_activity` and `daily`.

use domain::{Role, User, UserCommand};
use proptest::prelude::*;
use serde_json::json;
use tokio::runtime::Builder;

use super::fixture::{ERASE, Fixture, any_command, import, long_ago, register};
use crate::{Daily, DayRow, Projection, UserActivity, catch_up};

proptest! {
    #![proptest_config(ProptestConfig { cases: 48, failure_persistence: None, ..ProptestConfig::default() })]

    /// Whatever happened, rebuilt rows equal kept ones; nobody who is erased is in them; and the days add up.
    #[test]
    fn rebuilt_rows_equal_incremental_rows_and_days_add_up(commands in proptest::collection::vec(any_command(), 0..60)) {
        Builder::new_current_thread().enable_all().start_paused(true).build().unwrap().block_on(async {
            let projections: [&'static dyn Projection; 2] = [&UserActivity, &Daily];
            let mut fixture = Fixture::new(5).await;
            for (who, command) in commands {
                fixture.command(who, command).await;
                for projection in projections {
                    catch_up(projection, &fixture.context()).await.unwrap();
                }
            }
            for projection in projections {
                let kept = fixture.live_rows(projection).await;
                let node = fixture.node(projection, "a");
                let versions = fixture.rebuild(projection).await;
                assert_eq!(versions.get(2).unwrap().differed, Some(false));
                assert_eq!(fixture.live_rows(projection).await, kept);
                node.stop().await;
            }
            let accounts = fixture.users.iter().filter_map(|(id, user, version)| match user {
                User::Present(account) => Some((id.to_string(), account, *version)),
                User::Absent | User::Erased => None,
            });
            let accounts: Vec<_> = accounts.collect();
            let days: Vec<_> = fixture.live_rows(&Daily).await.iter().map(DayRow::from_row).collect();
            let sum = |number: fn(&DayRow) -> i64| days.iter().map(number).sum::<i64>();
            let active = accounts.iter().filter(|(_, account, _)| account.is_active).count();
            assert_eq!(sum(|day| day.active_change), i64::try_from(active).unwrap());
            let present = sum(|day| day.registered) - sum(|day| day.erased);
            assert_eq!(present, i64::try_from(accounts.len()).unwrap());

            let activity = fixture.live_rows(&UserActivity).await;
            assert_eq!(activity.len(), accounts.len(), "who is erased is gone");
            for row in activity {
                let (_, _, version) = accounts.iter().find(|(id, ..)| row["id"] == json!(id)).unwrap();
                assert_eq!(row["events"], json!(version));
            }
        });
    }
}

#[tokio::test]
async fn activity_holds_no_personal_data() {
    let mut fixture = Fixture::new(2).await;
    fixture.command(0, register("gunnar")).await;
    let registered = fixture.env.now().as_millisecond();
    fixture.command(1, import("yvonne", true)).await;
    fixture.command(0, UserCommand::GrantRole { role: Role::Auditor }).await;
    catch_up(&UserActivity, &fixture.context()).await.unwrap();
    let rows = fixture.live_rows(&UserActivity).await;
    let row =
        |who: usize| rows.iter().find(|row| row["id"] == json!(fixture.users[who].0.to_string())).unwrap();
    assert_eq!(
        (&row(0)["events"], &row(0)["position"], &row(0)["last_actor"]),
        (&json!(2), &json!(3), &json!("system"))
    );
    assert!(row(0)["registered_at"].as_i64().unwrap() <= registered);
    assert!(row(0)["last_change_at"].as_i64() >= row(0)["registered_at"].as_i64());
    assert_eq!(row(1)["registered_at"], json!(long_ago().as_millisecond()));
    let text = serde_json::to_string(&rows).unwrap();
    assert!(!text.contains("gunnar") && !text.contains("yvonne"), "{text}");

    fixture.command(0, ERASE).await;
    catch_up(&UserActivity, &fixture.context()).await.unwrap();
    let rows = fixture.live_rows(&UserActivity).await;
    assert_eq!(
        rows.iter().map(|row| &row["id"]).collect::<Vec<_>>(),
        [&json!(fixture.users[1].0.to_string())]
    );
}

#[tokio::test]
async fn daily_row_counts_the_events_of_its_day() {
    let mut fixture = Fixture::new(3).await;
    fixture.command(0, register("ada")).await;
    fixture.command(1, import("bob", false)).await;
    fixture.command(2, import("eve", true)).await;
    fixture.command(0, UserCommand::Deactivate { reason: None }).await;
    fixture.command(0, UserCommand::Reactivate { reason: None }).await;
    fixture.command(0, UserCommand::GrantRole { role: Role::Auditor }).await;
    fixture.command(2, ERASE).await;
    catch_up(&Daily, &fixture.context()).await.unwrap();
    let days: Vec<_> = fixture.live_rows(&Daily).await.iter().map(DayRow::from_row).collect();
    let sum = |number: fn(&DayRow) -> i64| days.iter().map(number).sum::<i64>();
    let counted = [
        sum(|day| day.registered),
        sum(|day| day.deactivated),
        sum(|day| day.reactivated),
        sum(|day| day.erased),
    ];
    assert_eq!((counted, sum(|day| day.active_change)), ([3, 2, 1, 1], 1));
    let last = days.last().unwrap();
    assert_eq!(u64::try_from(last.position).unwrap(), fixture.head().await.get());
    // It may be midnight meanwhile.
    assert!(days.len() <= 2 && last.day.len() == "2026-11-23".len(), "{days:?}");
}

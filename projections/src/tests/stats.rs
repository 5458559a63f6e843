//! The projection `daily`.

use domain::{Role, User, UserCommand};
use proptest::prelude::*;
use tokio::runtime::Builder;

use super::fixture::{ERASE, Fixture, any_command, import, register};
use crate::{Daily, DayRow, catch_up};

proptest! {
    #![proptest_config(ProptestConfig { cases: 48, failure_persistence: None, ..ProptestConfig::default() })]

    /// Rebuilt rows equal incremental ones, and the days add up to the present users.
    #[test]
    fn rebuilt_rows_equal_incremental_rows_and_days_add_up(commands in proptest::collection::vec(any_command(), 0..60)) {
        Builder::new_current_thread().enable_all().start_paused(true).build().unwrap().block_on(async {
            let mut fixture = Fixture::new(5).await;
            for (who, command) in commands {
                fixture.command(who, command).await;
                catch_up(&Daily, &fixture.context()).await.unwrap();
            }
            let incremental = fixture.live_rows(&Daily).await;
            let node = fixture.node(&Daily, "a");
            let versions = fixture.rebuild(&Daily).await;
            assert_eq!(versions.get(2).unwrap().differed, Some(false));
            assert_eq!(fixture.live_rows(&Daily).await, incremental);
            node.stop().await;
            let accounts = fixture.users.iter().filter_map(|(_, user, _)| match user {
                User::Present(account) => Some(account),
                User::Absent | User::Erased => None,
            });
            let accounts: Vec<_> = accounts.collect();
            let days: Vec<_> = fixture.live_rows(&Daily).await.iter().map(DayRow::from_row).collect();
            let sum = |number: fn(&DayRow) -> i64| days.iter().map(number).sum::<i64>();
            let active = accounts.iter().filter(|account| account.is_active).count();
            assert_eq!(sum(|day| day.active_change), i64::try_from(active).unwrap());
            let present = sum(|day| day.registered) - sum(|day| day.erased);
            assert_eq!(present, i64::try_from(accounts.len()).unwrap());
        });
    }
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

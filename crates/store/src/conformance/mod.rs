//! The promises of the event store, one function each, for every backend. A backend's tests name a [`Fixture`] and get
//! the whole list by [`conformance!`](crate::conformance!), so that none can forget one.
//!
//! They assert guarantees, never how a backend reaches them. Panics are their way of saying no.
#![expect(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::missing_panics_doc,
    reason = "these are tests: a broken promise has to panic"
)]

pub mod appends;
pub mod claims;
pub mod deliveries;
pub mod erasure;
pub mod idempotency;
pub mod keys;
pub mod leases;
pub mod ordering;
pub mod proof;
pub mod rows;
pub mod tiles;
pub mod versions;
pub mod world;

pub use world::{Fixture, Handle, World};

/// Declares a module of tests, one per promise, over the fixture that the expression makes.
#[macro_export]
macro_rules! conformance {
    ($backend:ident, $fixture:expr) => {
        $crate::conformance!($backend, $fixture;
            appends::an_append_to_several_streams_happens_whole
            appends::a_refused_append_leaves_nothing_behind
            appends::a_stale_append_is_refused_with_the_actual_version
            appends::of_racing_writers_exactly_one_wins
            appends::a_loser_does_not_harm_the_others
            appends::an_event_comes_back_as_it_was_written
            appends::an_event_too_large_is_refused
            appends::a_reopened_log_has_everything
            appends::an_impossible_append_is_refused
            appends::looking_for_a_log_does_not_make_one
            claims::a_taken_claim_is_refused_by_name
            claims::of_racing_claimants_exactly_one_wins
            claims::two_users_may_swap_their_claims
            claims::a_released_claim_is_free_in_the_same_commit
            claims::a_refused_append_takes_no_claim
            ordering::positions_have_no_gap_and_readers_miss_nothing
            ordering::times_never_fall_even_if_a_clock_does
            ordering::the_head_proves_the_events
            ordering::watchers_wake_on_commits_of_another_process
            ordering::events_can_be_filtered
            ordering::moments_are_found
            erasure::an_erased_stream_keeps_its_events_and_loses_its_secrets
            erasure::an_erased_stream_takes_no_more_events
            erasure::an_erased_streams_claims_are_free_at_once
            idempotency::a_repeated_append_happens_once
            idempotency::keys_are_told_apart
            idempotency::of_repeated_appends_at_once_one_happens
            idempotency::a_refused_append_leaves_its_key_free
            idempotency::keys_are_kept_for_a_day
            proof::an_honest_log_is_verified
            proof::claims_that_the_events_do_not_say_are_found
            proof::a_key_that_was_destroyed_in_silence_is_found
            rows::rows_and_checkpoint_move_together
            rows::of_racing_projectors_exactly_one_writes
            rows::every_kind_of_column_comes_back
            rows::a_row_without_a_place_is_refused
            rows::rows_are_found_by_index_and_by_page
            rows::watchers_hear_of_checkpoints_of_another_process
            rows::a_slice_says_what_it_is_made_of
            rows::a_known_row_is_written_whether_it_is_there_or_not
            versions::of_racing_changes_exactly_one_happens
            versions::what_is_behind_does_not_become_live
            versions::a_removed_table_takes_no_more_rows
            tiles::every_event_of_a_growing_log_is_proved
            tiles::of_racing_processes_all_make_the_same_tiles
            tiles::a_tile_that_was_changed_is_not_believed
            keys::a_rotation_takes_every_key_along
            keys::people_come_and_go_beside_a_rotation
            keys::a_rotation_that_has_begun_lets_no_old_key_through
            keys::no_key_of_before_comes_after_the_first_step
            keys::an_interrupted_rotation_is_gone_on_with
            keys::rotations_at_once_do_no_harm
            keys::keys_are_replaced_only_as_they_were
            keys::a_key_that_changes_meanwhile_is_not_left_behind
            keys::a_damaged_key_keeps_the_old_master_key_needed
            leases::of_racing_nodes_exactly_one_holds_the_lease
            leases::a_lease_that_is_not_renewed_is_free_again
            deliveries::progress_and_attempts_move_together
            deliveries::of_racing_deliverers_exactly_one_records
            deliveries::the_last_attempts_are_kept
        );
    };
    ($backend:ident, $fixture:expr; $($group:ident::$promise:ident)+) => {
        mod $backend {
            use super::*;
            $(#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn $promise() {
                let world = $crate::conformance::World::new($fixture.await);
                $crate::conformance::$group::$promise(&world).await;
            })+
        }
    };
}

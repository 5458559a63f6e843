//! The conformance suite: the guarantees of the event store, one test function each, for every backend. The
//! tests of a backend pass a [`Fixture`] to [`conformance!`](crate::conformance!), which runs the whole list.
//!
//! The functions assert guarantees, never how a backend provides them, and panic when one is violated.
#![expect(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::missing_panics_doc,
    reason = "tests: a violated guarantee must panic"
)]

pub mod appends;
pub mod claim_backfill;
pub mod claims;
pub mod deliveries;
pub mod erasure;
pub mod harness;
pub mod idempotency;
pub mod keys;
pub mod leases;
pub mod ordering;
pub mod rows;
pub mod session_authentication;
pub mod sessions;
pub mod stream_cache;
pub mod tiles;
pub mod verification;
pub mod versions;

pub use harness::{BackendHandle, Fixture, Harness, WallClock};

/// Declares a test module with one test per guarantee. The expression creates a
/// [`Fixture`](crate::conformance::Fixture).
#[macro_export]
macro_rules! conformance {
    ($backend:ident, $fixture:expr) => {
        $crate::conformance!($backend, $fixture;
            appends::multi_stream_append_is_atomic
            appends::rejected_append_writes_nothing
            appends::stale_expected_version_is_rejected_with_the_actual_one
            appends::concurrent_writers_one_wins
            appends::conflict_leaves_other_appends_of_the_batch_alone
            appends::events_round_trip
            appends::oversized_event_is_rejected
            appends::reopened_log_is_complete
            appends::invalid_append_is_rejected
            appends::exists_does_not_create_a_log
            claims::taken_claim_is_rejected_by_kind
            claims::concurrent_claims_one_wins
            claims::claims_can_be_swapped_in_one_append
            claims::released_claim_is_free_in_the_same_commit
            claims::rejected_append_takes_no_claim
            claims::claim_owners_are_found
            claims::optional_claims_go_to_one_stream
            claims::guards_hold_at_the_commit
            claim_backfill::older_streams_get_free_claims_and_collisions_are_reported
            claim_backfill::higher_rules_replace_the_claims_of_lower_ones
            claim_backfill::unknown_claims_stay_under_the_same_rules
            claim_backfill::one_of_concurrent_backfills_records_a_page
            claim_backfill::concurrent_changes_of_claims_win
            ordering::positions_are_gapless_and_readers_miss_nothing
            ordering::timestamps_are_monotonic_despite_clock_skew
            ordering::wrong_clock_of_a_process_stamps_no_event
            ordering::head_commits_to_the_events
            ordering::commits_of_another_process_wake_watchers
            ordering::event_queries_filter
            ordering::streams_are_read_backwards
            ordering::positions_are_found_by_time
            erasure::erased_stream_keeps_events_and_loses_personal_data
            erasure::erased_stream_rejects_appends
            erasure::key_states_are_read_in_the_order_given
            erasure::erased_stream_releases_its_claims
            erasure::erasure_reaches_streams_sealed_under_the_same_key
            erasure::streams_without_their_key_owner_are_rejected
            erasure::concurrent_erasure_ends_streams_sealed_under_the_same_key
            idempotency::repeated_append_executes_once
            idempotency::keys_are_bound_to_scope_and_request
            idempotency::concurrent_repeats_execute_once
            idempotency::rejected_append_leaves_its_key_free
            idempotency::keys_expire_after_a_day
            idempotency::expired_keys_are_deleted_in_bounded_steps
            verification::intact_log_verifies
            verification::claims_contradicting_the_events_are_found
            verification::silently_destroyed_key_is_found
            verification::stream_that_outlives_its_owner_is_found
            verification::streams_sealed_under_another_key_verify
            rows::rows_and_checkpoint_are_written_atomically
            rows::concurrent_projectors_one_writes
            rows::every_column_kind_round_trips
            rows::row_with_unknown_column_is_rejected
            rows::rows_are_found_by_index_and_by_page
            rows::rows_are_found_by_prefix
            rows::checkpoints_of_another_process_wake_watchers
            rows::slice_carries_its_checkpoint
            rows::tables_are_written_together_or_not_at_all
            rows::known_row_is_upserted
            versions::concurrent_version_changes_one_wins
            versions::lagging_version_cannot_be_promoted
            versions::removed_table_rejects_writes
            tiles::every_event_of_a_growing_log_has_an_inclusion_proof
            tiles::concurrent_processes_build_identical_tiles
            tiles::tampered_tile_is_rejected
            keys::rotation_rewraps_every_key
            keys::registrations_and_erasures_continue_during_rotation
            keys::started_rotation_rejects_the_old_master_key
            keys::old_master_key_wraps_nothing_after_the_first_step
            keys::interrupted_rotation_resumes
            keys::concurrent_rotations_are_safe
            keys::keys_are_replaced_by_compare_and_set
            keys::key_changed_during_rotation_is_rewrapped
            keys::damaged_key_keeps_the_old_master_key_required
            leases::concurrent_nodes_one_holds_the_lease
            leases::expired_lease_is_free
            leases::lease_from_a_clock_ahead_is_free
            deliveries::progress_and_attempts_are_written_atomically
            deliveries::cursors_of_several_webhooks_are_written_together
            deliveries::concurrent_recorders_one_wins
            deliveries::attempt_history_is_bounded
            deliveries::repeated_attempt_numbers_replace_earlier_attempts
            deliveries::erasure_deletes_cursor_and_attempts
            sessions::opened_session_is_read_back
            sessions::concurrent_renewals_one_wins
            sessions::commit_ends_sessions
            sessions::refused_commit_ends_no_session
            sessions::renewal_during_a_commit_is_lost_or_kept
            sessions::erasure_deletes_sessions
            sessions::sessions_of_a_stream_are_bounded
            sessions::bound_of_sessions_holds_whatever_the_clocks_show
            sessions::expired_sessions_are_purged_in_bounded_steps
            stream_cache::value_of_a_changed_stream_is_dropped
            stream_cache::value_that_arrives_late_is_not_kept
            stream_cache::values_are_never_older_than_acknowledged_events
            session_authentication::session_is_opened_renewed_and_listed
            session_authentication::changed_session_is_refused
            session_authentication::kept_session_gets_the_new_version
            session_authentication::erased_client_is_unreadable
            session_authentication::sessions_outlive_a_rotation_of_the_master_key
        );
    };
    ($backend:ident, $fixture:expr; $($group:ident::$guarantee:ident)+) => {
        mod $backend {
            use super::*;
            $(#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn $guarantee() {
                let harness = $crate::conformance::Harness::new($fixture.await);
                $crate::conformance::$group::$guarantee(&harness).await;
            })+
        }
    };
}

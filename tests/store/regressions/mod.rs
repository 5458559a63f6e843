//! Defects that other event stores had, or have, one file each, named after the defect: here it stays out. Those that
//! show only in a whole service are in `tests/service`.

mod change_stream_history_lost;
mod duplicate_key_attributed_to_wrong_index;
mod slow_commit_hides_events_from_readers;

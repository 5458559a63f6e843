//! Regression tests for defects of other event stores, one file per defect. Defects that need a whole service
//! are tested in `tests/service`.

mod change_stream_history_lost;
mod duplicate_key_attributed_to_wrong_index;
mod slow_commit_hides_events_from_readers;

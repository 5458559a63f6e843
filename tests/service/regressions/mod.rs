//! Defects of other event stores, one file each, named after the defect. Those of the store itself are in
//! `tests/store`.

mod clock_set_back;
mod dead_watcher_reported_healthy;
mod dropped_collection_under_a_watch;
mod feed_reconnect_under_load;

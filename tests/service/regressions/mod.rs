//! Defects that other event stores had, or have, one file each, named after the defect: here it stays out. Those that
//! show in the store itself are in `tests/store`.

mod clock_set_back;
mod dead_watcher_reported_healthy;
mod dropped_collection_under_a_watch;
mod feed_reconnect_under_load;

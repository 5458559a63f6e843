//! Defects that other event stores had, or have, one file each, named after the defect: here it stays out. Those that
//! show only in a whole service are in `tests/service`.

mod change_stream_history_lost;
mod duplicate_key_of_one_index_mistaken_for_another;
mod slow_writer_overtaken_by_a_fast_one;

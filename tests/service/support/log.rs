//! Invariants of the log.

use serde_json::Value;

/// Asserts that the events have positions 1, 2, 3 …
#[track_caller]
pub(crate) fn assert_no_gap(events: &[Value]) {
    let positions: Vec<_> = events.iter().map(|event| event["position"].as_u64().unwrap()).collect();
    assert!(positions.iter().copied().eq((1..).take(events.len())), "{positions:?}");
}

//! What every log must be.

use serde_json::Value;

/// The events have every position from 1 on, in order.
#[track_caller]
pub(crate) fn assert_no_gap(events: &[Value]) {
    let positions: Vec<_> = events.iter().map(|event| event["position"].as_u64().unwrap()).collect();
    assert!(positions.iter().copied().eq((1..).take(events.len())), "{positions:?}");
}

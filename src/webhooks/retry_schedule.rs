//! When an event that was not accepted is attempted again, as kept in the delivery cursor. The delays themselves
//! belong in `retry_policy`.

use std::time::Duration;

use jiff::{SignedDuration, Timestamp};

use super::attempt::FailedAttempt;
use super::delivery_cursor::{DeliveryCursor, FailingDelivery};
use super::retry_policy::{MAX_DELAY, retry_delay};

/// Records the failure in the cursor; returns for how long the event has been retried, and the delay before the
/// next attempt. Only scheduled delays count, not the time that has passed by the clock: while no node delivered,
/// the receiver had no chance to accept it.
pub(super) fn schedule_retry(
    cursor: &mut DeliveryCursor,
    position: u64,
    failed: FailedAttempt,
    jitter: u32,
    now: Timestamp,
) -> (Duration, Duration) {
    let before = cursor.failing_at(position);
    let (failures, since, retried_for_ms) = before.map_or((1, failed.started_at, 0), |failing| {
        (failing.failures + 1, failing.since, failing.retried_for_ms + failing.delay_ms)
    });
    let delay = retry_delay(failures, jitter, failed.retry_after);
    let delay_ms = u64::try_from(delay.as_millis()).unwrap_or(u64::MAX);
    let next_attempt_at = now + SignedDuration::try_from(delay).unwrap_or(SignedDuration::ZERO);
    let error = failed.error;
    let failing =
        FailingDelivery { position, since, failures, retried_for_ms, delay_ms, next_attempt_at, error };
    *cursor.failing_mut() = Some(failing);
    (Duration::from_millis(retried_for_ms), delay)
}

/// How long to wait before an event that has failed before is attempted again, possibly on another node.
pub(super) fn remaining_delay(cursor: &DeliveryCursor, position: u64, now: Timestamp) -> Option<Duration> {
    let remaining = cursor.failing_at(position)?.next_attempt_at.duration_since(now);
    Some(Duration::try_from(remaining).unwrap_or_default().min(MAX_DELAY))
}

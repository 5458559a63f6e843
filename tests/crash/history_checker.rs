//! The history checker: compares the journal of the clients, and what feed observers saw, with the log.

mod sessions;

use std::collections::BTreeMap;
use std::time::Duration;

use crate::feed_observer::ObservedEvent;
use crate::journal::{WriteOutcome, WriteRecord};
use crate::log::{Log, Violation, ViolationKind};

pub(crate) use sessions::session_violations;

/// Every violation in the log and in the responses that clients got.
pub(crate) fn violations(records: &[WriteRecord], log: &Log) -> Vec<Violation> {
    let mut violations = log.violations();
    for record in records {
        let kind = write_violation(record, log);
        violations.extend(kind.map(|kind| Violation { kind, detail: format!("{record:?}") }));
    }
    violations.extend(order_violations(records));
    violations
}

/// Every observed event that differs from the log.
pub(crate) fn feed_violations(observed: &[ObservedEvent], log: &Log) -> Vec<Violation> {
    let differs = |observed: &&ObservedEvent| {
        log.at(observed.position).is_none_or(|event| event["id"] != observed.id.as_str())
    };
    let violation =
        |observed| Violation { kind: ViolationKind::ObservedEventNotInLog, detail: format!("{observed:?}") };
    observed.iter().filter(differs).map(violation).collect()
}

#[track_caller]
pub(crate) fn assert_no_violations(violations: &[Violation]) {
    let first: Vec<_> = violations.iter().take(10).collect();
    assert!(violations.is_empty(), "{} violations, the first of them:\n{first:#?}", violations.len());
}

fn write_violation(record: &WriteRecord, log: &Log) -> Option<ViolationKind> {
    let positions = log.positions(&record.write.fingerprint());
    if positions.len() > 1 {
        return Some(ViolationKind::WriteExecutedTwice { positions: positions.to_vec() });
    }
    let position = positions.first().copied();
    let mut first = None;
    for attempt in &record.attempts {
        match &attempt.outcome {
            WriteOutcome::Acknowledged { position: acknowledged, response } => {
                let this = (acknowledged, response);
                if first.replace(this).is_some_and(|first| first != this) {
                    return Some(ViolationKind::ReplayedResponseDiffers);
                }
                let violation = acknowledgement_violation(record, *acknowledged, position, log);
                if violation.is_some() {
                    return violation;
                }
            }
            WriteOutcome::Rejected { status: 500.., .. } => return Some(ViolationKind::ServerError),
            WriteOutcome::Unchanged | WriteOutcome::Rejected { .. } => {
                if let Some(position) = position {
                    return Some(ViolationKind::RejectedWriteInLog { position });
                }
            }
            WriteOutcome::NotExecuted { .. } | WriteOutcome::InProgress | WriteOutcome::Unknown { .. } => {}
        }
    }
    let attempts = &record.attempts;
    let never_executed =
        attempts.iter().all(|attempt| matches!(attempt.outcome, WriteOutcome::NotExecuted { .. }));
    let position = position.filter(|_| never_executed && !attempts.is_empty())?;
    Some(ViolationKind::RejectedWriteInLog { position })
}

fn acknowledgement_violation(
    record: &WriteRecord,
    acknowledged: u64,
    position: Option<u64>,
    log: &Log,
) -> Option<ViolationKind> {
    let Some(position) = position else {
        return Some(ViolationKind::AcknowledgedWriteLost { acknowledged });
    };
    let events = u64::try_from(record.write.events()).unwrap();
    if position + events - 1 != acknowledged {
        return Some(ViolationKind::AcknowledgedElsewhere { acknowledged, position });
    }
    // Appends are atomic: the event in `system` follows directly.
    let is_complete = || {
        let user = &log.at(position).unwrap()["subject"];
        log.at(acknowledged).is_some_and(|event| event["data"]["user"] == *user)
    };
    (events > 1 && !is_complete()).then_some(ViolationKind::PartialAppend { position })
}

/// Real-time order: a write sent after another was acknowledged has a higher position.
fn order_violations(records: &[WriteRecord]) -> Vec<Violation> {
    // A resent write may have been executed at any time since its first attempt.
    let acknowledged = records.iter().filter_map(|record| {
        let position = record.acknowledged()?;
        let is_acknowledged = |outcome: &WriteOutcome| matches!(outcome, WriteOutcome::Acknowledged { .. });
        let attempt = record.attempts.iter().find(|attempt| is_acknowledged(&attempt.outcome))?;
        Some((record.attempts.first()?.sent, attempt.answered, position))
    });
    let acknowledged: Vec<(Duration, Duration, u64)> = acknowledged.collect();
    let mut highest: BTreeMap<Duration, u64> = BTreeMap::new();
    let mut by_answer = acknowledged.clone();
    by_answer.sort_unstable_by_key(|(_, answered, _)| *answered);
    let mut so_far = 0;
    for (_, answered, position) in by_answer {
        so_far = position.max(so_far);
        highest.insert(answered, so_far);
    }
    let earlier = |sent: &Duration| highest.range(..sent).next_back().map_or(0, |(_, position)| *position);
    let violations = acknowledged.iter().filter(|(sent, _, position)| earlier(sent) >= *position);
    let violation = |&(sent, _, position): &(Duration, Duration, u64)| Violation {
        kind: ViolationKind::RealTimeOrder { position, acknowledged_before: earlier(&sent) },
        detail: format!("sent at {sent:?}"),
    };
    violations.map(violation).collect()
}

#[cfg(test)]
mod tests;

//! Whether clients were told the truth: their journal held against the log.

use std::collections::BTreeMap;
use std::time::Duration;

use crate::feed_observer::ObservedEvent;
use crate::journal::{WriteOutcome, WriteRecord};
use crate::log::Log;

/// What is wrong with the log, and with what clients were told. Nothing may be.
pub(crate) fn violations(records: &[WriteRecord], log: &Log) -> Vec<String> {
    let mut violations = log.violations();
    for record in records {
        violations.extend(violation(record, log).map(|violation| format!("{violation}: {record:?}")));
    }
    violations.extend(order_violations(records));
    violations
}

/// What a reader of the feed saw, that is not so.
pub(crate) fn feed_violations(observed: &[ObservedEvent], log: &Log) -> Vec<String> {
    let differs = |observed: &&ObservedEvent| {
        log.at(observed.position).is_none_or(|event| event["id"] != observed.id.as_str())
    };
    let seen = observed.iter().filter(differs);
    seen.map(|observed| format!("the feed showed what is not in the log: {observed:?}")).collect()
}

/// Fails with all of them.
#[track_caller]
pub(crate) fn assert_no_violations(violations: &[String]) {
    let shown = violations.iter().take(10).cloned().collect::<Vec<_>>().join("\n");
    assert!(violations.is_empty(), "{} violations, the first of them:\n{shown}", violations.len());
}

fn violation(record: &WriteRecord, log: &Log) -> Option<String> {
    let found = log.positions(&record.write.fingerprint());
    if found.len() > 1 {
        return Some(format!("it is in the log {} times, at {found:?}", found.len()));
    }
    let found = found.first().copied();
    let mut first = None;
    for attempt in &record.attempts {
        match &attempt.outcome {
            WriteOutcome::Acknowledged { position, response } => {
                if first.replace((position, response)).is_some_and(|first| first != (position, response)) {
                    return Some("sent again, it was answered otherwise".to_owned());
                }
                if let Some(violation) = acknowledgement_violation(record, *position, found, log) {
                    return Some(violation);
                }
            }
            WriteOutcome::Rejected { status: 500.., .. } => return Some("the service failed".to_owned()),
            WriteOutcome::Unchanged | WriteOutcome::Rejected { .. } => {
                if let Some(found) = found {
                    return Some(format!("it was said not to be done, and is in the log at {found}"));
                }
            }
            WriteOutcome::NotExecuted { .. } | WriteOutcome::InProgress | WriteOutcome::Unknown { .. } => {}
        }
    }
    let attempts = &record.attempts;
    let never = attempts.iter().all(|attempt| matches!(attempt.outcome, WriteOutcome::NotExecuted { .. }));
    let found = found.filter(|_| never && !attempts.is_empty())?;
    Some(format!("every attempt was said to have done nothing, and it is in the log at {found}"))
}

fn acknowledgement_violation(
    record: &WriteRecord,
    position: u64,
    found: Option<u64>,
    log: &Log,
) -> Option<String> {
    let Some(found) = found else {
        return Some(format!("it was acknowledged at {position} and is not in the log"));
    };
    let events = u64::try_from(record.write.events()).unwrap();
    if found + events - 1 != position {
        return Some(format!("it was acknowledged at {position} and is in the log at {found}"));
    }
    // An append is whole or not at all: what it wrote to `system` stands next to it.
    let with_it =
        || log.at(position).is_some_and(|event| event["data"]["user"] == log.at(found).unwrap()["subject"]);
    (events > 1 && !with_it()).then(|| "only a part of it is in the log".to_owned())
}

/// What was sent after something else had been acknowledged stands behind it.
fn order_violations(records: &[WriteRecord]) -> Vec<String> {
    // Of a write that was sent twice, only the first sending says from when on it could happen.
    let acknowledged = records.iter().filter_map(|record| {
        let position = record.acknowledged()?;
        let done = record
            .attempts
            .iter()
            .find(|attempt| matches!(attempt.outcome, WriteOutcome::Acknowledged { .. }))?;
        Some((record.attempts.first()?.sent, done.answered, position))
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
    let wrong = acknowledged.iter().filter(|(sent, _, position)| earlier(sent) >= *position);
    wrong
        .map(|(sent, _, position)| {
            format!(
                "position {position} was given to a write sent {sent:?} in, when {} was acknowledged",
                earlier(sent)
            )
        })
        .collect()
}

#[cfg(test)]
mod tests;

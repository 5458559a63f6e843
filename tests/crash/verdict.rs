//! Whether clients were told the truth: their journal held against the log.

use std::collections::BTreeMap;
use std::time::Duration;

use crate::journal::{Outcome, Record};
use crate::log::Log;
use crate::witness::Sighting;

/// What is wrong with the log, and with what clients were told. Nothing may be.
pub(crate) fn faults(records: &[Record], log: &Log) -> Vec<String> {
    let mut faults = log.faults();
    for record in records {
        faults.extend(fault_of(record, log).map(|fault| format!("{fault}: {record:?}")));
    }
    faults.extend(faults_of_order(records));
    faults
}

/// What a reader of the feed saw, that is not so.
pub(crate) fn faults_of_sightings(sightings: &[Sighting], log: &Log) -> Vec<String> {
    let differs = |sighting: &&Sighting| {
        log.at(sighting.position).is_none_or(|event| event["id"] != sighting.id.as_str())
    };
    let seen = sightings.iter().filter(differs);
    seen.map(|sighting| format!("the feed showed what is not in the log: {sighting:?}")).collect()
}

/// Fails with all of them.
#[track_caller]
pub(crate) fn assert_none(faults: &[String]) {
    let shown = faults.iter().take(10).cloned().collect::<Vec<_>>().join("\n");
    assert!(faults.is_empty(), "{} faults, the first of them:\n{shown}", faults.len());
}

fn fault_of(record: &Record, log: &Log) -> Option<String> {
    let found = log.positions(&record.write.mark());
    if found.len() > 1 {
        return Some(format!("it is in the log {} times, at {found:?}", found.len()));
    }
    let found = found.first().copied();
    let mut first = None;
    for attempt in &record.attempts {
        match &attempt.outcome {
            Outcome::Done { position, told } => {
                if first.replace((position, told)).is_some_and(|first| first != (position, told)) {
                    return Some("sent again, it was answered otherwise".to_owned());
                }
                if let Some(fault) = fault_of_acknowledged(record, *position, found, log) {
                    return Some(fault);
                }
            }
            Outcome::Refused { status: 500.., .. } => return Some("the service failed".to_owned()),
            Outcome::Unchanged | Outcome::Refused { .. } => {
                if let Some(found) = found {
                    return Some(format!("it was said not to be done, and is in the log at {found}"));
                }
            }
            Outcome::NotDone { .. } | Outcome::Running | Outcome::Unknown { .. } => {}
        }
    }
    let attempts = &record.attempts;
    let never = attempts.iter().all(|attempt| matches!(attempt.outcome, Outcome::NotDone { .. }));
    let found = found.filter(|_| never && !attempts.is_empty())?;
    Some(format!("every attempt was said to have done nothing, and it is in the log at {found}"))
}

fn fault_of_acknowledged(record: &Record, position: u64, found: Option<u64>, log: &Log) -> Option<String> {
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
fn faults_of_order(records: &[Record]) -> Vec<String> {
    // Of a write that was sent twice, only the first sending says from when on it could happen.
    let acknowledged = records.iter().filter_map(|record| {
        let position = record.acknowledged()?;
        let done = record.attempts.iter().find(|attempt| matches!(attempt.outcome, Outcome::Done { .. }))?;
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

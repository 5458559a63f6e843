//! Prints the figures of a test.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::io::Write as _;
use std::time::Duration;

use crate::journal::{Attempt, Journal, WriteOutcome, WriteRecord};
use crate::log::{Log, Violation, ViolationKind};
use crate::session_journal::{SessionAction, SessionAnswer, SessionRecord};

/// Prints past the capture of test output: a seed is needed when a test fails, the figures when it passes.
pub(crate) fn print(line: &str) {
    let _written = writeln!(std::io::stdout(), "crash: {line}");
}

/// Prints the outcomes of all writes.
pub(crate) fn print_totals(test: &str, records: &[WriteRecord], log: &Log) {
    let mut counts: BTreeMap<&str, usize> = BTreeMap::new();
    let mut resolved: BTreeMap<&str, usize> = BTreeMap::new();
    let mut slowest = Duration::ZERO;
    for record in records {
        *counts.entry(first_answer(record)).or_default() += 1;
        if is_unknown(record) {
            *resolved.entry(resolution(record)).or_default() += 1;
        }
        let took = |attempt: &Attempt| attempt.answered.saturating_sub(attempt.sent);
        slowest = record.attempts.iter().map(took).max().unwrap_or_default().max(slowest);
    }
    let attempts: usize = records.iter().map(|record| record.attempts.len()).sum();
    print(&format!(
        "{test}: {} writes, {attempts} requests: {}; indeterminate ones, resent: {}; slowest answer {:.1} s; \
         log of {} events",
        records.len(),
        shown(&counts),
        shown(&resolved),
        slowest.as_secs_f64(),
        log.head(),
    ));
}

/// Prints what happened to sessions.
pub(crate) fn print_sessions(test: &str, records: &[SessionRecord], violations: &[Violation]) {
    let (mut refused, mut repeated, mut unavailable, mut renewed) = (0, 0, 0, 0);
    for record in records {
        let ended_at = record.ended_at().unwrap_or(Duration::MAX);
        for request in &record.requests {
            refused += usize::from(request.answer == SessionAnswer::Refused && request.sent > ended_at);
            unavailable += usize::from(request.answer.is_lost());
            renewed += usize::from(matches!(request.answer, SessionAnswer::Renewed { .. }));
        }
        repeated += repeated_refreshes(record);
    }
    let is_accepted = |violation: &&Violation| {
        matches!(violation.kind, ViolationKind::EndedSessionAccepted | ViolationKind::RefusedSessionAccepted)
    };
    let ended = records.iter().filter(|record| record.ended_at().is_some()).count();
    print(&format!(
        "{test}: {ended} sessions ended and then refused {refused} times, {} times accepted; {} others renewed to the end; \
         {renewed} refreshes, {repeated} repeated after their answer was lost; {unavailable} requests without an answer",
        violations.iter().filter(is_accepted).count(),
        records.len() - ended,
    ));
}

/// The refresh tokens of a session that were exchanged after an answer to them was lost.
fn repeated_refreshes(record: &SessionRecord) -> usize {
    let generations = record.requests.iter().filter_map(|request| match request.action {
        SessionAction::Refresh { generation } if request.answer.is_lost() => Some(generation),
        _ => None,
    });
    let lost: BTreeSet<usize> = generations.collect();
    let is_renewed = |generation: &&usize| {
        record.refreshes(**generation).any(|request| matches!(request.answer, SessionAnswer::Renewed { .. }))
    };
    lost.iter().filter(is_renewed).count()
}

fn shown(counts: &BTreeMap<&str, usize>) -> String {
    let mut text = String::new();
    for (name, count) in counts {
        let separator = if text.is_empty() { "" } else { ", " };
        write!(text, "{separator}{count} {name}").unwrap();
    }
    if text.is_empty() { "none".to_owned() } else { text }
}

/// The outcome of the first attempt.
fn first_answer(record: &WriteRecord) -> &'static str {
    match record.attempts.first().map(|attempt| &attempt.outcome) {
        Some(WriteOutcome::Acknowledged { .. }) => "acknowledged",
        Some(WriteOutcome::Unchanged) => "unchanged",
        Some(WriteOutcome::Rejected { .. }) => "rejected",
        Some(WriteOutcome::NotExecuted { .. }) => "not executed",
        Some(WriteOutcome::Unknown { .. } | WriteOutcome::InProgress) => "unknown",
        None => "never sent",
    }
}

fn is_unknown(record: &WriteRecord) -> bool {
    record.attempts.iter().any(|attempt| matches!(attempt.outcome, WriteOutcome::Unknown { .. }))
}

/// The final outcome of an indeterminate write.
fn resolution(record: &WriteRecord) -> &'static str {
    let last = record.attempts.iter().rev().find_map(|attempt| match attempt.outcome {
        WriteOutcome::Acknowledged { .. } => Some("acknowledged"),
        WriteOutcome::Unchanged => Some("unchanged"),
        WriteOutcome::Rejected { .. } => Some("rejected"),
        WriteOutcome::NotExecuted { .. } | WriteOutcome::InProgress | WriteOutcome::Unknown { .. } => None,
    });
    last.unwrap_or("without a key")
}

/// The longest time since `since` without a write acknowledged by the service, or by any service.
pub(crate) fn longest_gap(journal: &Journal, service: Option<usize>, since: Duration) -> Duration {
    let until = journal.now();
    let acknowledged = journal.acknowledgements(Duration::ZERO).into_iter();
    let acknowledged = acknowledged.filter(|(at, _)| service.is_none_or(|service| service == *at));
    let mut times: Vec<_> = acknowledged.map(|(_, time)| time).chain([since, until]).collect();
    times.retain(|time| (since..=until).contains(time));
    times.sort_unstable();
    times.windows(2).map(|two| two[1].saturating_sub(two[0])).max().unwrap_or_default()
}

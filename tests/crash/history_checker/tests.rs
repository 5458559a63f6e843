//! Journals that are true, and every kind that is not.

use serde_json::{Value, json};

use super::*;
use crate::client_write::ClientWrite;
use crate::journal::Attempt;

fn registered(position: u64, name: &str) -> Value {
    json!({
        "position": position, "id": format!("event {position}"), "type": "UserRegistered", "subject": format!("id of {name}"),
        "streamversion": 1, "time": format!("2026-11-22T08:00:{position:02}.000Z"),
        "data": {"username": name, "email": format!("{name}@example.com")},
    })
}

fn log(events: &[Value]) -> Log {
    Log::of(events.to_vec())
}

fn done(position: u64) -> WriteOutcome {
    WriteOutcome::Acknowledged { position, response: "201".to_owned() }
}

fn unknown() -> WriteOutcome {
    WriteOutcome::Unknown { reason: "the connection broke".to_owned() }
}

fn refused() -> WriteOutcome {
    WriteOutcome::Rejected { status: 400, code: "email_taken".to_owned() }
}

fn not_done() -> WriteOutcome {
    WriteOutcome::NotExecuted { code: "unavailable".to_owned() }
}

fn sign_up(name: &str, outcomes: &[WriteOutcome]) -> WriteRecord {
    let attempt = |(n, outcome): (u64, &WriteOutcome)| Attempt {
        service: 0,
        sent: Duration::from_secs(10 * n),
        answered: Duration::from_secs(10 * n + 5),
        outcome: outcome.clone(),
    };
    WriteRecord {
        write: ClientWrite::SignUp { name: name.to_owned(), email: format!("{name}@example.com") },
        key: Some("key".to_owned()),
        attempts: (0..).zip(outcomes).map(attempt).collect(),
    }
}

#[track_caller]
fn assert_violation(records: &[WriteRecord], log: &Log, words: &str) {
    let violations = violations(records, log);
    assert!(
        violations.iter().any(|violation| violation.contains(words)),
        "{words} is missing in {violations:?}"
    );
}

#[test]
fn consistent_history_has_no_violations() {
    let log = log(&[registered(1, "ada"), registered(2, "bob"), registered(3, "eve")]);
    let records = [
        sign_up("ada", &[done(1), done(1)]),
        sign_up("bob", &[unknown(), WriteOutcome::InProgress, not_done(), done(2)]),
        sign_up("eve", &[unknown()]),
        sign_up("joe", &[unknown(), refused()]),
        sign_up("kay", &[refused()]),
        sign_up("lea", &[not_done()]),
        sign_up("max", &[]),
    ];
    assert_eq!(violations(&records, &log), Vec::<String>::new());
    assert!(
        records[2].is_indeterminate() && !records[1].is_indeterminate() && !records[3].is_indeterminate()
    );
    let keyless = WriteRecord { key: None, ..records[2].clone() };
    assert!(!keyless.is_indeterminate() && violations(&[keyless], &log).is_empty());
}

#[test]
fn lost_duplicated_or_misplaced_acknowledged_write_is_detected() {
    let one = log(&[registered(1, "ada")]);
    assert_violation(&[sign_up("bob", &[done(1)])], &one, "is not in the log");
    assert_violation(&[sign_up("ada", &[done(2)])], &one, "acknowledged at 2 and is in the log at 1");
    let mut again = registered(2, "ada");
    again["subject"] = json!("another id");
    assert_violation(&[sign_up("ada", &[done(1)])], &log(&[registered(1, "ada"), again]), "2 times");
}

#[test]
fn rejected_write_in_the_log_is_detected() {
    let log = log(&[registered(1, "ada")]);
    for outcome in [refused(), WriteOutcome::Unchanged, not_done()] {
        assert_violation(&[sign_up("ada", &[outcome])], &log, "is in the log at 1");
    }
    assert_violation(&[sign_up("ada", &[unknown(), refused()])], &log, "is in the log at 1");
    let failed = WriteOutcome::Rejected { status: 500, code: "internal".to_owned() };
    assert_violation(&[sign_up("bob", &[failed])], &log, "the service failed");
}

#[test]
fn differing_replayed_response_is_detected() {
    let log = log(&[registered(1, "ada")]);
    let other = WriteOutcome::Acknowledged { position: 1, response: "other words".to_owned() };
    assert_violation(&[sign_up("ada", &[done(1), other])], &log, "answered otherwise");
}

#[test]
fn real_time_order_violation_is_detected() {
    let log = log(&[registered(1, "ada"), registered(2, "bob")]);
    let mut later = sign_up("ada", &[done(1)]);
    later.attempts[0].sent = Duration::from_secs(20);
    assert_violation(&[later, sign_up("bob", &[done(2)])], &log, "position 1 was given to a write sent");
}

#[test]
fn partial_append_is_detected() {
    let granted = |position, data: Value| {
        json!({
            "position": position, "id": format!("event {position}"), "type": "RoleGranted", "subject": "ada",
            "streamversion": 1, "time": "2026-11-22T08:00:00.000Z", "data": data,
        })
    };
    let mut record = sign_up("ada", &[done(2)]);
    record.write = ClientWrite::Grant { id: "ada".to_owned(), role: "admin" };
    let mut other = granted(2, json!({"user": "bob"}));
    (other["type"], other["subject"]) = (json!("AdministratorAdded"), json!("system"));
    let half = log(&[granted(1, json!({"role": "admin"})), other.clone()]);
    assert_violation(&[record.clone()], &half, "only a part");
    other["data"]["user"] = json!("ada");
    assert_eq!(
        violations(&[record], &log(&[granted(1, json!({"role": "admin"})), other])),
        Vec::<String>::new()
    );
}

#[test]
fn malformed_log_is_detected() {
    assert_violation(&[], &log(&[registered(1, "ada"), registered(3, "bob")]), "position 2 expected");
    let mut early = registered(2, "bob");
    early["time"] = json!("2026-11-22T07:00:00.000Z");
    assert_violation(&[], &log(&[registered(1, "ada"), early]), "time falls");
    let mut skipping = registered(2, "bob");
    skipping["streamversion"] = json!(2);
    assert_violation(&[], &log(&[registered(1, "ada"), skipping]), "version 1 expected");
    let mut twin = registered(2, "bob");
    twin["data"]["email"] = json!("ada@example.com");
    assert_violation(&[], &log(&[registered(1, "ada"), twin]), "e-mail address for the second time");
}

#[test]
fn observed_event_missing_from_the_log_is_detected() {
    let log = log(&[registered(1, "ada")]);
    let observed = |position, id: &str| ObservedEvent { position, id: id.to_owned() };
    assert!(feed_violations(&[observed(1, "event 1")], &log).is_empty());
    for false_one in [observed(1, "event 7"), observed(2, "event 2")] {
        assert_eq!(feed_violations(&[false_one], &log).len(), 1);
    }
}

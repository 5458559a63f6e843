//! Consistent histories, and one of every kind of violation.

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

fn acknowledged(position: u64) -> WriteOutcome {
    WriteOutcome::Acknowledged { position, response: "201".to_owned() }
}

fn unknown() -> WriteOutcome {
    WriteOutcome::Unknown { reason: "the connection broke".to_owned() }
}

fn rejected() -> WriteOutcome {
    WriteOutcome::Rejected { status: 400, code: "email_taken".to_owned() }
}

fn not_executed() -> WriteOutcome {
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
fn assert_violation(records: &[WriteRecord], log: &Log, kind: &ViolationKind) {
    let violations = violations(records, log);
    assert!(
        violations.iter().any(|violation| violation.kind == *kind),
        "{kind:?} is not reported: {violations:?}"
    );
}

#[test]
fn consistent_history_has_no_violations() {
    let log = log(&[registered(1, "ada"), registered(2, "bob"), registered(3, "eve")]);
    let records = [
        sign_up("ada", &[acknowledged(1), acknowledged(1)]),
        sign_up("bob", &[unknown(), WriteOutcome::InProgress, not_executed(), acknowledged(2)]),
        sign_up("eve", &[unknown()]),
        sign_up("joe", &[unknown(), rejected()]),
        sign_up("kay", &[rejected()]),
        sign_up("lea", &[not_executed()]),
        sign_up("max", &[]),
    ];
    assert_eq!(violations(&records, &log), []);
    assert!(
        records[2].is_indeterminate() && !records[1].is_indeterminate() && !records[3].is_indeterminate()
    );
    let keyless = WriteRecord { key: None, ..records[2].clone() };
    assert!(!keyless.is_indeterminate() && violations(&[keyless], &log).is_empty());
}

#[test]
fn lost_duplicated_or_misplaced_acknowledged_write_is_detected() {
    let one = log(&[registered(1, "ada")]);
    let lost = ViolationKind::AcknowledgedWriteLost { acknowledged: 1 };
    assert_violation(&[sign_up("bob", &[acknowledged(1)])], &one, &lost);
    let elsewhere = ViolationKind::AcknowledgedElsewhere { acknowledged: 2, position: 1 };
    assert_violation(&[sign_up("ada", &[acknowledged(2)])], &one, &elsewhere);
    let mut again = registered(2, "ada");
    again["subject"] = json!("another id");
    let twice = ViolationKind::WriteExecutedTwice { positions: vec![1, 2] };
    assert_violation(&[sign_up("ada", &[acknowledged(1)])], &log(&[registered(1, "ada"), again]), &twice);
}

#[test]
fn rejected_write_in_the_log_is_detected() {
    let log = log(&[registered(1, "ada")]);
    let in_log = ViolationKind::RejectedWriteInLog { position: 1 };
    for outcome in [rejected(), WriteOutcome::Unchanged, not_executed()] {
        assert_violation(&[sign_up("ada", &[outcome])], &log, &in_log);
    }
    assert_violation(&[sign_up("ada", &[unknown(), rejected()])], &log, &in_log);
    let failed = WriteOutcome::Rejected { status: 500, code: "internal".to_owned() };
    assert_violation(&[sign_up("bob", &[failed])], &log, &ViolationKind::ServerError);
}

#[test]
fn differing_replayed_response_is_detected() {
    let log = log(&[registered(1, "ada")]);
    let other = WriteOutcome::Acknowledged { position: 1, response: "another response".to_owned() };
    let differs = ViolationKind::ReplayedResponseDiffers;
    assert_violation(&[sign_up("ada", &[acknowledged(1), other])], &log, &differs);
}

#[test]
fn real_time_order_violation_is_detected() {
    let log = log(&[registered(1, "ada"), registered(2, "bob")]);
    let mut later = sign_up("ada", &[acknowledged(1)]);
    later.attempts[0].sent = Duration::from_secs(20);
    let order = ViolationKind::RealTimeOrder { position: 1, acknowledged_before: 2 };
    assert_violation(&[later, sign_up("bob", &[acknowledged(2)])], &log, &order);
}

#[test]
fn partial_append_is_detected() {
    let granted = |position, data: Value| {
        json!({
            "position": position, "id": format!("event {position}"), "type": "RoleGranted", "subject": "ada",
            "streamversion": 1, "time": "2026-11-22T08:00:00.000Z", "data": data,
        })
    };
    let mut record = sign_up("ada", &[acknowledged(2)]);
    record.write = ClientWrite::Grant { id: "ada".to_owned(), role: "admin" };
    let mut other = granted(2, json!({"user": "bob"}));
    (other["type"], other["subject"]) = (json!("AdministratorAdded"), json!("system"));
    let partial = log(&[granted(1, json!({"role": "admin"})), other.clone()]);
    assert_violation(&[record.clone()], &partial, &ViolationKind::PartialAppend { position: 1 });
    other["data"]["user"] = json!("ada");
    assert_eq!(violations(&[record], &log(&[granted(1, json!({"role": "admin"})), other])), []);
}

#[test]
fn malformed_log_is_detected() {
    let gap = ViolationKind::PositionGap { expected: 2 };
    assert_violation(&[], &log(&[registered(1, "ada"), registered(3, "bob")]), &gap);
    let mut early = registered(2, "bob");
    early["time"] = json!("2026-11-22T07:00:00.000Z");
    assert_violation(
        &[],
        &log(&[registered(1, "ada"), early]),
        &ViolationKind::TimeDecreases { position: 2 },
    );
    let mut skipping = registered(2, "bob");
    skipping["streamversion"] = json!(2);
    let version = ViolationKind::StreamVersionGap { position: 2, expected: 1 };
    assert_violation(&[], &log(&[registered(1, "ada"), skipping]), &version);
    let mut twin = registered(2, "bob");
    twin["data"]["email"] = json!("ada@example.com");
    assert_violation(
        &[],
        &log(&[registered(1, "ada"), twin]),
        &ViolationKind::DuplicateEmail { position: 2 },
    );
}

#[test]
fn observed_event_missing_from_the_log_is_detected() {
    let log = log(&[registered(1, "ada")]);
    let observed = |position, id: &str| ObservedEvent { position, id: id.to_owned() };
    assert!(feed_violations(&[observed(1, "event 1")], &log).is_empty());
    for missing in [observed(1, "event 7"), observed(2, "event 2")] {
        assert_eq!(feed_violations(&[missing], &log).len(), 1);
    }
}

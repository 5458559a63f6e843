//! Journals that are true, and every kind that is not.

use serde_json::{Value, json};

use super::*;
use crate::journal::Attempt;
use crate::write::Write;

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

fn done(position: u64) -> Outcome {
    Outcome::Done { position, told: "201".to_owned() }
}

fn unknown() -> Outcome {
    Outcome::Unknown { why: "the connection broke".to_owned() }
}

fn refused() -> Outcome {
    Outcome::Refused { status: 400, code: "email_taken".to_owned() }
}

fn not_done() -> Outcome {
    Outcome::NotDone { code: "unavailable".to_owned() }
}

fn sign_up(name: &str, outcomes: &[Outcome]) -> Record {
    let attempt = |(n, outcome): (u64, &Outcome)| Attempt {
        service: 0,
        sent: Duration::from_secs(10 * n),
        answered: Duration::from_secs(10 * n + 5),
        outcome: outcome.clone(),
    };
    Record {
        write: Write::SignUp { name: name.to_owned(), email: format!("{name}@example.com") },
        key: Some("key".to_owned()),
        attempts: (0..).zip(outcomes).map(attempt).collect(),
    }
}

#[track_caller]
fn assert_fault(records: &[Record], log: &Log, words: &str) {
    let faults = faults(records, log);
    assert!(faults.iter().any(|fault| fault.contains(words)), "{words} is missing in {faults:?}");
}

#[test]
fn the_truth_is_no_fault() {
    let log = log(&[registered(1, "ada"), registered(2, "bob"), registered(3, "eve")]);
    let records = [
        sign_up("ada", &[done(1), done(1)]),
        sign_up("bob", &[unknown(), Outcome::Running, not_done(), done(2)]),
        sign_up("eve", &[unknown()]),
        sign_up("joe", &[unknown(), refused()]),
        sign_up("kay", &[refused()]),
        sign_up("lea", &[not_done()]),
        sign_up("max", &[]),
    ];
    assert_eq!(faults(&records, &log), Vec::<String>::new());
    assert!(records[2].is_open() && !records[1].is_open() && !records[3].is_open());
    let keyless = Record { key: None, ..records[2].clone() };
    assert!(!keyless.is_open() && faults(&[keyless], &log).is_empty());
}

#[test]
fn what_was_acknowledged_and_is_lost_twice_or_elsewhere_is_found() {
    let one = log(&[registered(1, "ada")]);
    assert_fault(&[sign_up("bob", &[done(1)])], &one, "is not in the log");
    assert_fault(&[sign_up("ada", &[done(2)])], &one, "acknowledged at 2 and is in the log at 1");
    let mut again = registered(2, "ada");
    again["subject"] = json!("another id");
    assert_fault(&[sign_up("ada", &[done(1)])], &log(&[registered(1, "ada"), again]), "2 times");
}

#[test]
fn what_was_refused_and_is_in_the_log_is_found() {
    let log = log(&[registered(1, "ada")]);
    for outcome in [refused(), Outcome::Unchanged, not_done()] {
        assert_fault(&[sign_up("ada", &[outcome])], &log, "is in the log at 1");
    }
    assert_fault(&[sign_up("ada", &[unknown(), refused()])], &log, "is in the log at 1");
    let failed = Outcome::Refused { status: 500, code: "internal".to_owned() };
    assert_fault(&[sign_up("bob", &[failed])], &log, "the service failed");
}

#[test]
fn another_first_result_is_found() {
    let log = log(&[registered(1, "ada")]);
    let other = Outcome::Done { position: 1, told: "other words".to_owned() };
    assert_fault(&[sign_up("ada", &[done(1), other])], &log, "answered otherwise");
}

#[test]
fn a_write_that_stands_before_what_had_been_acknowledged_is_found() {
    let log = log(&[registered(1, "ada"), registered(2, "bob")]);
    let mut later = sign_up("ada", &[done(1)]);
    later.attempts[0].sent = Duration::from_secs(20);
    assert_fault(&[later, sign_up("bob", &[done(2)])], &log, "position 1 was given to a write sent");
}

#[test]
fn half_of_an_append_is_found() {
    let granted = |position, data: Value| {
        json!({
            "position": position, "id": format!("event {position}"), "type": "RoleGranted", "subject": "ada",
            "streamversion": 1, "time": "2026-11-22T08:00:00.000Z", "data": data,
        })
    };
    let mut record = sign_up("ada", &[done(2)]);
    record.write = Write::Grant { id: "ada".to_owned(), role: "admin" };
    let mut other = granted(2, json!({"user": "bob"}));
    (other["type"], other["subject"]) = (json!("AdministratorAdded"), json!("system"));
    let half = log(&[granted(1, json!({"role": "admin"})), other.clone()]);
    assert_fault(&[record.clone()], &half, "only a part");
    other["data"]["user"] = json!("ada");
    assert_eq!(faults(&[record], &log(&[granted(1, json!({"role": "admin"})), other])), Vec::<String>::new());
}

#[test]
fn a_log_that_is_none_is_found() {
    assert_fault(&[], &log(&[registered(1, "ada"), registered(3, "bob")]), "position 2 expected");
    let mut early = registered(2, "bob");
    early["time"] = json!("2026-11-22T07:00:00.000Z");
    assert_fault(&[], &log(&[registered(1, "ada"), early]), "time falls");
    let mut skipping = registered(2, "bob");
    skipping["streamversion"] = json!(2);
    assert_fault(&[], &log(&[registered(1, "ada"), skipping]), "version 1 expected");
    let mut twin = registered(2, "bob");
    twin["data"]["email"] = json!("ada@example.com");
    assert_fault(&[], &log(&[registered(1, "ada"), twin]), "e-mail address for the second time");
}

#[test]
fn what_the_feed_showed_and_is_not_so_is_found() {
    let log = log(&[registered(1, "ada")]);
    let sighting = |position, id: &str| Sighting { position, id: id.to_owned() };
    assert!(faults_of_sightings(&[sighting(1, "event 1")], &log).is_empty());
    for false_one in [sighting(1, "event 7"), sighting(2, "event 2")] {
        assert_eq!(faults_of_sightings(&[false_one], &log).len(), 1);
    }
}

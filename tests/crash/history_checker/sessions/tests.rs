//! A session without a fault, and one of every kind of violation.

use serde_json::{Value, json};

use super::*;
use crate::session_journal::SessionEnd;

const USE: SessionAction = SessionAction::Use { generation: 0 };
const LOGOUT: SessionAction = SessionAction::End(SessionEnd::Logout);

fn refresh(generation: usize) -> SessionAction {
    SessionAction::Refresh { generation }
}

fn renewed(refresh_token: &str) -> SessionAnswer {
    SessionAnswer::Renewed { refresh_token: refresh_token.to_owned() }
}

/// A session with one request every ten seconds, each of which takes five.
fn session(requests: &[(SessionAction, SessionAnswer)]) -> SessionRecord {
    let request = |(n, (action, answer)): (u64, &(SessionAction, SessionAnswer))| SessionRequest {
        service: 0,
        sent: Duration::from_secs(10 * n),
        answered: Duration::from_secs(10 * n + 5),
        action: *action,
        answer: answer.clone(),
    };
    SessionRecord {
        user: "ada".to_owned(),
        id: "s".to_owned(),
        requests: (0..).zip(requests).map(request).collect(),
    }
}

fn event(position: u64, kind: &str, data: Value) -> Value {
    let mut event = json!({"position": position, "id": position, "type": kind, "subject": "ada"});
    event["data"] = data;
    event
}

fn ended_for(reasons: &[&str]) -> Log {
    let ended =
        |(position, reason)| event(position, "SessionRevoked", json!({"session": "s", "reason": reason}));
    Log::of((1..).zip(reasons).map(ended).collect())
}

fn kinds(record: &SessionRecord, log: &Log) -> Vec<ViolationKind> {
    session_violations(std::slice::from_ref(record), log)
        .into_iter()
        .map(|violation| violation.kind)
        .collect()
}

#[track_caller]
fn assert_violation(requests: &[(SessionAction, SessionAnswer)], log: &Log, kind: &ViolationKind) {
    let found = kinds(&session(requests), log);
    assert!(found.contains(kind), "{kind:?} is not reported: {found:?}");
}

#[test]
fn session_that_is_refreshed_and_ended_has_no_violations() {
    let record = session(&[
        (USE, SessionAnswer::Accepted),
        (refresh(0), SessionAnswer::Lost),
        (refresh(0), renewed("1")),
        (refresh(0), renewed("1")),
        (refresh(1), renewed("2")),
        (USE, SessionAnswer::Accepted),
        (LOGOUT, SessionAnswer::Lost),
        (USE, SessionAnswer::Lost),
        (LOGOUT, SessionAnswer::Ended),
        (USE, SessionAnswer::Refused),
        (refresh(0), SessionAnswer::Refused),
        (refresh(2), SessionAnswer::Refused),
    ]);
    assert_eq!(kinds(&record, &ended_for(&["logout"])), []);
    let everywhere = SessionAction::End(SessionEnd::LogoutEverywhere);
    let record = session(&[(everywhere, SessionAnswer::Ended), (USE, SessionAnswer::Refused)]);
    assert_eq!(kinds(&record, &Log::of(vec![event(1, "TokensRevoked", json!({}))])), []);
}

#[test]
fn ended_session_that_is_accepted_is_detected() {
    let accepted = ViolationKind::EndedSessionAccepted;
    for (action, answer) in [(USE, SessionAnswer::Accepted), (refresh(0), renewed("1"))] {
        let requests = [(LOGOUT, SessionAnswer::Ended), (action, answer)];
        assert_violation(&requests, &ended_for(&["logout"]), &accepted);
    }
    // A request that was sent before the end was acknowledged may be accepted.
    let mut record = session(&[(LOGOUT, SessionAnswer::Ended), (USE, SessionAnswer::Accepted)]);
    record.requests[1].sent = Duration::from_secs(4);
    assert_eq!(kinds(&record, &ended_for(&["logout"])), []);
}

#[test]
fn session_that_comes_back_is_detected() {
    let back = ViolationKind::RefusedSessionAccepted;
    let requests = [(LOGOUT, SessionAnswer::Lost), (USE, SessionAnswer::Refused), (refresh(0), renewed("1"))];
    assert_violation(&requests, &ended_for(&["logout"]), &back);
}

#[test]
fn client_that_is_logged_out_without_a_reason_is_detected() {
    let log = ended_for(&[]);
    let refused = ViolationKind::OpenSessionRefused;
    for action in [USE, refresh(0), LOGOUT] {
        assert_violation(&[(action, SessionAnswer::Refused)], &log, &refused);
    }
    let requests = [(refresh(0), SessionAnswer::Lost), (refresh(0), SessionAnswer::Refused)];
    assert_violation(&requests, &log, &refused);
    assert_violation(&requests, &ended_for(&["reuse"]), &ViolationKind::RetryTakenForReuse);
}

#[test]
fn end_that_is_not_answered_yet_may_be_seen() {
    let mut record = session(&[(LOGOUT, SessionAnswer::Pending), (USE, SessionAnswer::Refused)]);
    record.requests[0].answered = Duration::MAX;
    assert_eq!(kinds(&record, &ended_for(&["logout"])), []);
    // One that was sent after the refusal is no reason for it.
    record.requests[0].sent = Duration::from_secs(20);
    assert_eq!(kinds(&record, &ended_for(&["logout"])), [ViolationKind::OpenSessionRefused]);
}

#[test]
fn use_of_a_copy_may_end_the_session() {
    let log = ended_for(&["reuse"]);
    let older =
        [(refresh(0), renewed("1")), (refresh(1), renewed("2")), (refresh(0), SessionAnswer::Refused)];
    assert_eq!(kinds(&session(&older), &log), []);
    let mut late = session(&[(refresh(0), renewed("1")), (refresh(0), SessionAnswer::Refused)]);
    late.requests[1].answered = RETRY_WINDOW + Duration::from_secs(1);
    assert_eq!(kinds(&late, &log), []);
    // A frozen service processes the first request after the second token was used.
    let frozen = [
        (refresh(0), SessionAnswer::TimedOut),
        (refresh(0), renewed("1")),
        (refresh(1), renewed("2")),
        (USE, SessionAnswer::Refused),
    ];
    let mut frozen = session(&frozen);
    assert_eq!(kinds(&frozen, &log), [ViolationKind::OpenSessionRefused, ViolationKind::RetryTakenForReuse]);
    frozen.requests[0].answered = Duration::from_secs(15);
    assert_eq!(kinds(&frozen, &log), []);
}

#[test]
fn differing_and_repeated_successors_are_detected() {
    let log = ended_for(&[]);
    let differs = ViolationKind::SuccessorsDiffer { generation: 0 };
    assert_violation(&[(refresh(0), renewed("1")), (refresh(0), renewed("2"))], &log, &differs);
    let twice = ViolationKind::RefreshTokenIssuedTwice;
    assert_violation(&[(refresh(0), renewed("1")), (refresh(1), renewed("1"))], &log, &twice);
}

#[test]
fn end_that_the_log_lacks_or_repeats_is_detected() {
    let requests = [(LOGOUT, SessionAnswer::Ended)];
    assert_violation(&requests, &ended_for(&[]), &ViolationKind::AcknowledgedEndLost);
    assert_violation(&requests, &ended_for(&["logout", "logout"]), &ViolationKind::SessionEndedTwice);
    // The end of one session is not that of all.
    let everywhere = [(SessionAction::End(SessionEnd::ByAdministrator), SessionAnswer::Ended)];
    assert_violation(&everywhere, &ended_for(&["logout"]), &ViolationKind::AcknowledgedEndLost);
}

#[test]
fn unexpected_answer_is_detected() {
    let failed = SessionAnswer::Unexpected { status: 500, code: "internal".to_owned() };
    let unexpected = ViolationKind::UnexpectedAnswer { status: 500, code: "internal".to_owned() };
    assert_violation(&[(USE, failed)], &ended_for(&[]), &unexpected);
}

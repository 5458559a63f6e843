//! The log as the command line prints it, and its invariants.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;
use testkit::service::Deployment;

use crate::client_write::fingerprint_of;

/// A violated invariant of the log, or a response that contradicts the log.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Violation {
    pub(crate) kind: ViolationKind,
    /// The event or write record concerned.
    pub(crate) detail: String,
}

#[derive(Clone, Debug, PartialEq)]
pub(crate) enum ViolationKind {
    PositionGap {
        expected: u64,
    },
    StreamVersionGap {
        position: u64,
        expected: u64,
    },
    TimeDecreases {
        position: u64,
    },
    DuplicateId {
        position: u64,
    },
    DuplicateEmail {
        position: u64,
    },
    WriteExecutedTwice {
        positions: Vec<u64>,
    },
    AcknowledgedWriteLost {
        acknowledged: u64,
    },
    AcknowledgedElsewhere {
        acknowledged: u64,
        position: u64,
    },
    PartialAppend {
        position: u64,
    },
    /// Also a write of which every attempt was reported as not executed.
    RejectedWriteInLog {
        position: u64,
    },
    ReplayedResponseDiffers,
    ServerError,
    RealTimeOrder {
        position: u64,
        acknowledged_before: u64,
    },
    ObservedEventNotInLog,
    /// After its end was acknowledged.
    EndedSessionAccepted,
    /// After another answer said that it has ended.
    RefusedSessionAccepted,
    /// The session of a client that did nothing that ends it.
    OpenSessionRefused,
    SuccessorsDiffer {
        generation: usize,
    },
    RefreshTokenIssuedTwice,
    /// A refresh within the retry window ended the session.
    RetryTakenForReuse,
    SessionEndedTwice,
    AcknowledgedEndLost,
    UnexpectedAnswer {
        status: u16,
        code: String,
    },
}

/// The log, as `aegis events list` prints it.
#[derive(Clone, Debug, Default)]
pub(crate) struct Log {
    events: Vec<Value>,
    fingerprints: BTreeMap<String, Vec<u64>>,
}

impl Log {
    pub(crate) fn of(events: Vec<Value>) -> Self {
        let mut log = Self::default();
        log.extend(events);
        log
    }

    /// Reads the whole log.
    pub(crate) async fn read(deployment: &Deployment) -> Self {
        Self::of(deployment.json(&["events", "list"]).await)
    }

    /// Reads the events appended since the last read.
    pub(crate) async fn catch_up(&mut self, deployment: &Deployment) {
        let after = self.head().to_string();
        self.extend(deployment.json(&["events", "list", "--after", &after]).await);
    }

    fn extend(&mut self, events: Vec<Value>) {
        for event in &events {
            self.fingerprints.entry(fingerprint_of(event)).or_default().push(number(event, "position"));
        }
        self.events.extend(events);
    }

    pub(crate) fn events(&self) -> &[Value] {
        &self.events
    }

    /// The position of the last event.
    pub(crate) fn head(&self) -> u64 {
        self.events.last().map_or(0, |event| number(event, "position"))
    }

    /// The event at a position, if there is one.
    pub(crate) fn at(&self, position: u64) -> Option<&Value> {
        let index = usize::try_from(position.checked_sub(1)?).ok()?;
        self.events.get(index).filter(|event| number(event, "position") == position)
    }

    /// The positions of the events with a fingerprint.
    pub(crate) fn positions(&self, fingerprint: &str) -> &[u64] {
        self.fingerprints.get(fingerprint).map_or(&[], Vec::as_slice)
    }

    /// The invariants: positions 1, 2, 3 …, versions 1, 2, 3 … in every stream, times that never decrease,
    /// unique ids and unique e-mail addresses.
    pub(crate) fn violations(&self) -> Vec<Violation> {
        let mut violations = Vec::new();
        let (mut versions, mut ids, mut emails) = (BTreeMap::new(), BTreeSet::new(), BTreeSet::new());
        let mut previous_time = "";
        let mut violation =
            |kind, event: &Value| violations.push(Violation { kind, detail: event.to_string() });
        for (event, position) in self.events.iter().zip(1..) {
            if event["position"] != position {
                violation(ViolationKind::PositionGap { expected: position }, event);
                // All later positions would be wrong as well.
                break;
            }
            // The logins of a user have the same subject and a stream of their own.
            let stream = (text(event, "subject"), is_login(event));
            let version: &mut u64 = versions.entry(stream).or_default();
            *version += 1;
            if event["streamversion"] != *version {
                violation(ViolationKind::StreamVersionGap { position, expected: *version }, event);
            }
            if text(event, "time") < previous_time {
                violation(ViolationKind::TimeDecreases { position }, event);
            }
            previous_time = text(event, "time");
            if !ids.insert(text(event, "id")) {
                violation(ViolationKind::DuplicateId { position }, event);
            }
            if event["type"] == "UserRegistered" && !emails.insert(event["data"]["email"].to_string()) {
                violation(ViolationKind::DuplicateEmail { position }, event);
            }
        }
        violations
    }

    /// The state of every user according to the events: active or not, and the roles.
    pub(crate) fn users(&self) -> BTreeMap<String, (bool, BTreeSet<String>)> {
        let mut users: BTreeMap<String, (bool, BTreeSet<String>)> = BTreeMap::new();
        let of_account = |event: &&Value| event["subject"] != "system" && !is_login(event);
        for event in self.events.iter().filter(of_account) {
            let (active, roles) = users.entry(text(event, "subject").to_owned()).or_default();
            let role = event["data"]["role"].as_str().unwrap_or_default();
            match text(event, "type") {
                "UserRegistered" | "UserReactivated" => *active = true,
                "UserDeactivated" => *active = false,
                "RoleGranted" => drop(roles.insert(role.to_owned())),
                "RoleRevoked" => drop(roles.remove(role)),
                "SessionRevoked" | "TokensRevoked" => {}
                other => panic!("unexpected event type {other}"),
            }
        }
        users
    }
}

/// Verifies the log by `aegis events verify`.
pub(crate) async fn verify(deployment: &Deployment) {
    deployment.run_ok(&["events", "verify"]).await;
}

/// Asserts that the read model `users` agrees with the events.
pub(crate) async fn assert_rows_follow(deployment: &Deployment, log: &Log) {
    let rows = deployment.json(&["users", "list"]).await;
    let roles = |row: &Value| {
        row["roles"].as_array().unwrap().iter().map(|role| role.as_str().unwrap().into()).collect()
    };
    let rows: BTreeMap<String, (bool, BTreeSet<String>)> =
        rows.iter().map(|row| (text(row, "id").to_owned(), (row["is_active"] == true, roles(row)))).collect();
    let users = log.users();
    assert_eq!(rows.len(), users.len(), "number of users in the read model and in the log");
    for (id, user) in &users {
        assert_eq!(rows.get(id), Some(user), "user {id} in the read model and in the log");
    }
}

fn is_login(event: &Value) -> bool {
    matches!(text(event, "type"), "LoginSucceeded" | "LoginFailed")
}

fn number(event: &Value, field: &str) -> u64 {
    event[field].as_u64().unwrap_or_else(|| panic!("no {field}: {event}"))
}

fn text<'a>(event: &'a Value, field: &str) -> &'a str {
    event[field].as_str().unwrap_or_else(|| panic!("no {field}: {event}"))
}

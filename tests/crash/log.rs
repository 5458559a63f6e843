//! What the log holds, and whether it is one.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;
use testkit::service::Deployment;

use crate::client_write::fingerprint_of;

/// The log, as `aegis events list` prints it.
#[derive(Clone, Debug, Default)]
pub(crate) struct Log {
    events: Vec<Value>,
    fingerprints: BTreeMap<String, Vec<u64>>,
}

impl Log {
    /// Of these events.
    pub(crate) fn of(events: Vec<Value>) -> Self {
        let mut log = Self::default();
        log.extend(events);
        log
    }

    /// Reads all of it.
    pub(crate) async fn read(deployment: &Deployment) -> Self {
        Self::of(deployment.json(&["events", "list"]).await)
    }

    /// Reads what was appended since.
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
        let place = usize::try_from(position.checked_sub(1)?).ok()?;
        self.events.get(place).filter(|event| number(event, "position") == position)
    }

    /// The positions at which a mark was left.
    pub(crate) fn positions(&self, fingerprint: &str) -> &[u64] {
        self.fingerprints.get(fingerprint).map_or(&[], Vec::as_slice)
    }

    /// What is wrong with it: positions 1, 2, 3 …, versions 1, 2, 3 … in every stream, times that never fall, no id
    /// and no e-mail address twice.
    pub(crate) fn violations(&self) -> Vec<String> {
        let mut violations = Vec::new();
        let (mut versions, mut ids, mut emails) = (BTreeMap::new(), BTreeSet::new(), BTreeSet::new());
        let mut before = "";
        for (event, position) in self.events.iter().zip(1..) {
            if event["position"] != position {
                violations.push(format!("position {position} expected, found {event}"));
                // Every later one would be wrong, too.
                break;
            }
            let version: &mut u64 = versions.entry(text(event, "subject")).or_default();
            *version += 1;
            if event["streamversion"] != *version {
                violations.push(format!("version {version} expected, found {event}"));
            }
            if text(event, "time") < before {
                violations.push(format!("time falls from {before}: {event}"));
            }
            before = text(event, "time");
            if !ids.insert(text(event, "id")) {
                violations.push(format!("an id for the second time: {event}"));
            }
            if event["type"] == "UserRegistered" && !emails.insert(event["data"]["email"].to_string()) {
                violations.push(format!("an e-mail address for the second time: {event}"));
            }
        }
        violations
    }

    /// Every user as their events leave them: active or not, and their roles.
    pub(crate) fn users(&self) -> BTreeMap<String, (bool, BTreeSet<String>)> {
        let mut users: BTreeMap<String, (bool, BTreeSet<String>)> = BTreeMap::new();
        for event in self.events.iter().filter(|event| event["subject"] != "system") {
            let (active, roles) = users.entry(text(event, "subject").to_owned()).or_default();
            let role = event["data"]["role"].as_str().unwrap_or_default();
            match text(event, "type") {
                "UserRegistered" | "UserReactivated" => *active = true,
                "UserDeactivated" => *active = false,
                "RoleGranted" => drop(roles.insert(role.to_owned())),
                "RoleRevoked" => drop(roles.remove(role)),
                other => panic!("what does {other} mean?"),
            }
        }
        users
    }
}

/// The log and the read model as the program itself proves them, and the rows as the log's events say.
pub(crate) async fn verify(deployment: &Deployment) {
    deployment.run_ok(&["events", "verify"]).await;
}

/// The rows of the read model are what the events come to.
pub(crate) async fn assert_rows_follow(deployment: &Deployment, log: &Log) {
    let rows = deployment.json(&["users", "list"]).await;
    let roles = |row: &Value| {
        row["roles"].as_array().unwrap().iter().map(|role| role.as_str().unwrap().into()).collect()
    };
    let rows: BTreeMap<String, (bool, BTreeSet<String>)> =
        rows.iter().map(|row| (text(row, "id").to_owned(), (row["is_active"] == true, roles(row)))).collect();
    let users = log.users();
    assert_eq!(rows.len(), users.len(), "users in the read model, and in the log");
    for (id, user) in &users {
        assert_eq!(rows.get(id), Some(user), "user {id}, in the read model and in the log");
    }
}

fn number(event: &Value, field: &str) -> u64 {
    event[field].as_u64().unwrap_or_else(|| panic!("no {field}: {event}"))
}

fn text<'a>(event: &'a Value, field: &str) -> &'a str {
    event[field].as_str().unwrap_or_else(|| panic!("no {field}: {event}"))
}

//! The writes that clients send. Each write leaves a fingerprint in the log that no other write leaves, so
//! the log shows how often it was executed.

use reqwest::Method;
use serde_json::{Value, json};
use testkit::service::{Client, Request};

/// The roles that users are granted. The first also appends to the stream `system`.
pub(crate) const ROLES: [&str; 4] = ["admin", "auditor", "operator", "subscriber"];

/// The password of every user.
pub(crate) const PASSWORD: &str = "correct horse battery staple";

/// The sign-up of a user with the e-mail address `<name>@example.com`.
pub(crate) fn sign_up(client: &Client, name: &str) -> Request {
    sign_up_as(client, name, &format!("{name}@example.com"))
}

fn sign_up_as(client: &Client, name: &str, email: &str) -> Request {
    let body = json!({ "email": email, "username": name, "password": PASSWORD });
    client.post("/auth/signup").json(&body)
}

/// One write. Every name is used once, and every change is made to a user at most once.
#[derive(Clone, Debug)]
pub(crate) enum ClientWrite {
    SignUp {
        name: String,
        email: String,
    },
    Deactivate {
        id: String,
        reason: String,
    },
    Reactivate {
        id: String,
        reason: String,
    },
    Grant {
        id: String,
        role: &'static str,
    },
    Revoke {
        id: String,
        role: &'static str,
    },
    /// A deactivation that must be rejected: its expected version never existed.
    Stale {
        id: String,
        reason: String,
    },
}

impl ClientWrite {
    pub(crate) fn request(&self, client: &Client, token: &str) -> Request {
        let command = |id: &str, what: &str, reason: &str| {
            let request = client.post(&format!("/users/{id}/{what}")).bearer(token);
            request.json(&json!({ "reason": reason }))
        };
        let role = |method, id: &str, role: &str| {
            client.request(method, &format!("/users/{id}/roles/{role}")).bearer(token)
        };
        match self {
            Self::SignUp { name, email } => sign_up_as(client, name, email),
            Self::Deactivate { id, reason } => command(id, "deactivate", reason),
            Self::Reactivate { id, reason } => command(id, "reactivate", reason),
            Self::Grant { id, role: name } => role(Method::PUT, id, name),
            Self::Revoke { id, role: name } => role(Method::DELETE, id, name),
            Self::Stale { id, reason } => command(id, "deactivate", reason).header("If-Match", "\"1000000\""),
        }
    }

    /// The fingerprint that it leaves in the log.
    pub(crate) fn fingerprint(&self) -> String {
        match self {
            Self::SignUp { name, .. } => format!("UserRegistered {name}"),
            Self::Deactivate { id, reason } | Self::Stale { id, reason } => {
                format!("UserDeactivated {id} {reason}")
            }
            Self::Reactivate { id, reason } => format!("UserReactivated {id} {reason}"),
            Self::Grant { id, role } => format!("RoleGranted {id} {role}"),
            Self::Revoke { id, role } => format!("RoleRevoked {id} {role}"),
        }
    }

    /// The number of events that it appends.
    pub(crate) fn events(&self) -> usize {
        match self {
            // The number of administrators is also tracked in `system`.
            Self::Grant { role: "admin", .. } | Self::Revoke { role: "admin", .. } => 2,
            _ => 1,
        }
    }
}

/// The fingerprint of an event.
pub(crate) fn fingerprint_of(event: &Value) -> String {
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let (kind, id, data) = (text(&event["type"]), text(&event["subject"]), &event["data"]);
    match kind.as_str() {
        "UserRegistered" => format!("{kind} {}", text(&data["username"])),
        "UserDeactivated" | "UserReactivated" => format!("{kind} {id} {}", text(&data["reason"])),
        "RoleGranted" | "RoleRevoked" => format!("{kind} {id} {}", text(&data["role"])),
        _ => format!("{kind} {id} {}", text(&data["user"])),
    }
}

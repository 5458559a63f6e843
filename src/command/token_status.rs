//! The form in which machine tokens are shown, without their secrets.

use jiff::Timestamp;
use serde::Serialize;
use store::canonical::rfc3339;

use super::TokenState;

/// A machine token.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct TokenStatus {
    pub id: String,
    pub name: String,
    pub roles: Vec<&'static str>,
    /// `active`, `expired` or `revoked`.
    pub state: &'static str,
    /// RFC 3339, UTC.
    pub issued_at: String,
    /// The actor.
    pub issued_by: String,
    /// Null if it does not expire.
    pub expires_at: Option<String>,
    /// The day in UTC; null if it was never used.
    pub last_used_on: Option<String>,
    /// Null if it is not revoked.
    pub revoked_at: Option<String>,
}

impl TokenStatus {
    /// The token as of `now`.
    #[must_use]
    pub fn new(token: &TokenState, now: Timestamp) -> Self {
        let issued = &token.issued;
        let state = match issued.expires_at {
            _ if token.revoked_at.is_some() => "revoked",
            Some(end) if event_codec::timestamp(end) <= now => "expired",
            Some(_) | None => "active",
        };
        Self {
            id: token.id.to_string(),
            name: issued.name.as_str().to_owned(),
            roles: issued.roles.iter().map(|role| role.as_str()).collect(),
            state,
            issued_at: rfc3339(token.issued_at),
            issued_by: token.issued_by.clone(),
            expires_at: issued.expires_at.map(|end| end.to_string()),
            last_used_on: token.last_used_on.map(|day| day.to_string()),
            revoked_at: token.revoked_at.map(rfc3339),
        }
    }
}

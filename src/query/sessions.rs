//! Which sessions of a user are open, and how the export of the user's data shows them.

use domain::UserId;
use projections::UserRow;
use serde::Serialize;
use store::canonical::rfc3339;
use store::{EventStore, Session};

/// What the log says of a user, which decides which sessions are open.
#[derive(Clone, Copy, Debug)]
pub(crate) struct SessionOwner {
    pub(crate) id: UserId,
    pub(crate) is_active: bool,
    /// The version below which tokens and sessions are void.
    pub(crate) tokens_from: u64,
}

impl From<&UserRow> for SessionOwner {
    fn from(row: &UserRow) -> Self {
        Self { id: row.id, is_active: row.is_active, tokens_from: row.tokens_from }
    }
}

impl SessionOwner {
    /// Whether a session that exists belongs to the user and may be used. One that was opened while the tokens of the
    /// user were revoked may have outlived the revocation.
    pub(crate) fn has_open(&self, session: &Session, store: &EventStore) -> bool {
        self.is_active
            && session.stream.as_str() == self.id.stream()
            && session.version >= self.tokens_from
            && session.epoch == store.identity().epoch
            && session.expires_at > store.clock().now()
    }
}

/// An open session in the export of the user's data.
#[derive(Clone, Debug, Serialize)]
pub struct HeldSession {
    pub id: String,
    /// RFC 3339, UTC.
    pub created_at: String,
    /// RFC 3339, UTC.
    pub last_used_at: String,
    /// RFC 3339, UTC.
    pub expires_at: String,
    /// Null if it is unknown.
    pub address: Option<String>,
    /// Null if it is unknown.
    pub user_agent: Option<String>,
}

impl From<Session> for HeldSession {
    fn from(session: Session) -> Self {
        Self {
            id: session.id.to_string(),
            created_at: rfc3339(session.created_at),
            last_used_at: rfc3339(session.refreshed_at),
            expires_at: rfc3339(session.expires_at),
            address: session.address,
            user_agent: session.user_agent,
        }
    }
}

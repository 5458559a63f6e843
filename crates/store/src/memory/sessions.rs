//! Sessions of the reference backend.

use async_trait::async_trait;
use jiff::Timestamp;
use uuid::Uuid;

use super::{Memory, State};
use crate::error::{StoreError, WriteError};
use crate::event::StreamId;
use crate::key_store::KeyEntry;
use crate::sessions::{
    EndSessions, SessionRecord, SessionRenewal, SessionStore, renewal_time, superfluous_sessions,
};

#[async_trait]
impl SessionStore for Memory {
    async fn open_session(&self, record: &SessionRecord) -> Result<(), WriteError> {
        let mut state = self.state();
        let has_key = matches!(state.key_entries.get(&record.stream), Some((KeyEntry::Key(_), _)));
        if !has_key {
            return Err(WriteError::Conflict);
        }
        let renewed_at = state.renewal_time(record.renewed_at, &record.stream);
        state.sessions.insert(record.id, SessionRecord { renewed_at, ..record.clone() });
        let of_stream = state.sessions.values().filter(|session| session.stream == record.stream);
        let of_stream = of_stream.map(|session| (session.renewed_at, session.id)).collect();
        for id in superfluous_sessions(of_stream) {
            state.sessions.remove(&id);
        }
        Ok(())
    }

    async fn session(&self, id: Uuid) -> Result<Option<SessionRecord>, StoreError> {
        Ok(self.state().sessions.get(&id).cloned())
    }

    async fn sessions_of(&self, stream: &StreamId) -> Result<Vec<SessionRecord>, StoreError> {
        let state = self.state();
        Ok(state.sessions.values().filter(|session| session.stream == *stream).cloned().collect())
    }

    async fn renew_session(&self, renewal: &SessionRenewal) -> Result<(), WriteError> {
        let mut state = self.state();
        let renewed_at = state.renewal_time(renewal.renewed_at, &renewal.stream);
        let stored = state.sessions.get_mut(&renewal.id).filter(|stored| stored.generation == renewal.from);
        let Some(stored) = stored else { return Err(WriteError::Conflict) };
        let SessionRenewal { to, rotation, expires_at, .. } = renewal.clone();
        *stored = SessionRecord { generation: to, rotation, renewed_at, expires_at, ..stored.clone() };
        Ok(())
    }

    async fn purge_sessions(&self, before: Timestamp, limit: usize) -> Result<usize, StoreError> {
        let mut state = self.state();
        let expired = state.sessions.values().filter(|session| session.expires_at < before);
        let expired: Vec<_> = expired.map(|session| session.id).take(limit).collect();
        for id in &expired {
            state.sessions.remove(id);
        }
        Ok(expired.len())
    }
}

impl State {
    fn renewal_time(&self, clock: Timestamp, stream: &StreamId) -> Timestamp {
        let of_stream = self.sessions.values().filter(|session| session.stream == *stream);
        renewal_time(clock, of_stream.map(|session| session.renewed_at))
    }

    pub(super) fn end_sessions(&mut self, stream: &StreamId, ended: EndSessions) {
        match ended {
            EndSessions::None => {}
            EndSessions::One(id) => {
                self.sessions.retain(|_, session| session.id != id || session.stream != *stream);
            }
            EndSessions::All => self.sessions.retain(|_, session| session.stream != *stream),
            EndSessions::AllBut(kept) => {
                self.sessions.retain(|id, session| session.stream != *stream || *id == kept.id);
                let session = self.sessions.get_mut(&kept.id).filter(|session| session.stream == *stream);
                if let Some(session) = session {
                    session.grant = kept.grant;
                }
            }
        }
    }
}

//! What commands are judged by: a user's stream, and that of the installation, folded.

use domain::{Account, SYSTEM_STREAM, System, User, UserId, system, user};
use jiff::Timestamp;
use projections::decode;
use store::{EventStore, Position, StoredEvent, StreamId};

use super::{CommandError, UserState};

/// A user's stream, folded.
pub(super) struct Loaded {
    pub(super) user: User,
    pub(super) version: u64,
    /// When the first event was appended.
    first: Option<Timestamp>,
}

impl Loaded {
    /// A user of whom the log says nothing.
    pub(super) fn absent() -> Self {
        Self { user: User::Absent, version: 0, first: None }
    }

    /// The whole stream.
    pub(super) async fn whole(store: &EventStore, id: UserId) -> Result<Self, CommandError> {
        Self::until(store, id, u64::MAX).await
    }

    /// The stream up to a version.
    pub(super) async fn until(store: &EventStore, id: UserId, version: u64) -> Result<Self, CommandError> {
        let events = store.read_stream(&stream_id(&id.stream())?).await?;
        let mut loaded = Self::absent();
        for event in events.iter().take_while(|event| event.envelope.version <= version) {
            loaded.user = user::evolve(loaded.user, &decode::user_event(event)?);
            loaded.version = event.envelope.version;
            loaded.first.get_or_insert(event.envelope.at);
        }
        Ok(loaded)
    }

    /// When the user of that account registered; `now` if they are about to.
    pub(super) fn created_at(&self, account: &Account, now: Timestamp) -> Timestamp {
        decode::created_at(account, self.first.unwrap_or(now))
    }

    /// The user, unless there is none, or none any more.
    pub(super) fn state(self, id: UserId, position: Option<Position>) -> Option<UserState> {
        let Self { user: User::Present(account), version, first: Some(first) } = self else { return None };
        let created_at = decode::created_at(&account, first);
        Some(UserState { id, account, created_at, version, position })
    }
}

/// The installation, and the version of its stream.
pub(super) async fn load_system(store: &EventStore) -> Result<(System, u64), CommandError> {
    fold_system(&read_system(store).await?)
}

/// The stream of the installation.
pub(super) async fn read_system(store: &EventStore) -> Result<Vec<StoredEvent>, CommandError> {
    Ok(store.read_stream(&stream_id(SYSTEM_STREAM)?).await?)
}

/// The installation that these events, its whole stream, have made, and the version of the stream.
pub(super) fn fold_system(events: &[StoredEvent]) -> Result<(System, u64), CommandError> {
    let mut system = System::default();
    for event in events {
        system = system::evolve(system, &decode::system_event(event)?);
    }
    Ok((system, events.last().map_or(0, |event| event.envelope.version)))
}

pub(super) fn stream_id(name: &str) -> Result<StreamId, CommandError> {
    Ok(StreamId::from_trusted(name)?)
}

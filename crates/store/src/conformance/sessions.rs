//! Sessions: renewed by compare-and-set, ended in the commit of an event, refused if they were changed in the
//! database.

use std::collections::BTreeSet;

use futures::future::{join, join_all};
use jiff::{Timestamp, ToSpan};
use serde_json::json;
use uuid::Uuid;

use super::harness::{BackendHandle, Harness, append_writes};
use crate::append::{AppendError, ExpectedVersion, StreamWrite};
use crate::error::WriteError;
use crate::event::StreamId;
use crate::event_store::EventStore;
use crate::sessions::{EndSessions, KeptSession, MAX_SESSIONS, SessionRecord, SessionRenewal};

const NO_SESSIONS: [Uuid; 0] = [];

/// The ports of a process, and a stream that may have sessions.
async fn with_user(harness: &Harness) -> (BackendHandle, EventStore, StreamId) {
    let handle = harness.open_migrated().await;
    let store = harness.store_on(&handle).await;
    let user = new_user(harness, &store).await;
    (handle, store, user)
}

async fn new_user(harness: &Harness, store: &EventStore) -> StreamId {
    let user = harness.new_stream();
    append_writes(store, [harness.write(&user, ExpectedVersion::NoStream)]).await.unwrap();
    user
}

fn record(harness: &Harness, stream: &StreamId, number: u64) -> SessionRecord {
    let start = Timestamp::from_second(harness.now().as_second()).unwrap();
    SessionRecord {
        id: Uuid::from_u128(u128::from(number) << 64 | u128::from(harness.new_id())),
        stream: stream.clone(),
        grant: json!({"number": number, "odd": "$set . \u{1F980}"}),
        generation: 0,
        rotation: json!({"number": number}),
        renewed_at: start + i64::try_from(number).unwrap().seconds(),
        expires_at: start + 1.hour(),
    }
}

/// The session after its next renewal.
fn renewed(record: &SessionRecord) -> SessionRecord {
    SessionRecord {
        generation: record.generation + 1,
        rotation: json!({"renewed": record.generation + 1}),
        renewed_at: record.renewed_at + 1.hour(),
        expires_at: record.expires_at + 1.hour(),
        ..record.clone()
    }
}

async fn renew(handle: &BackendHandle, to: &SessionRecord) -> Result<(), WriteError> {
    let SessionRecord { id, stream, generation, rotation, renewed_at, expires_at, .. } = to.clone();
    let (from, to) = (generation - 1, generation);
    let renewal = SessionRenewal { id, stream, from, to, rotation, renewed_at, expires_at };
    handle.sessions.renew_session(&renewal).await
}

async fn opened(
    harness: &Harness,
    handle: &BackendHandle,
    stream: &StreamId,
    count: u64,
) -> Vec<SessionRecord> {
    let records: Vec<_> = (0..count).map(|number| record(harness, stream, number)).collect();
    for record in &records {
        handle.sessions.open_session(record).await.unwrap();
    }
    records
}

async fn ids_of(handle: &BackendHandle, stream: &StreamId) -> Vec<Uuid> {
    handle.sessions.sessions_of(stream).await.unwrap().into_iter().map(|record| record.id).collect()
}

fn ending(harness: &Harness, stream: &StreamId, end_sessions: EndSessions) -> StreamWrite {
    let write = StreamWrite::new(stream.clone(), ExpectedVersion::Any, vec![harness.plain_event()]);
    StreamWrite { end_sessions, ..write }
}

fn keeping(record: &SessionRecord) -> EndSessions {
    EndSessions::AllBut(KeptSession { id: record.id, grant: json!({"kept": true}) })
}

fn assert_conflict(result: &Result<(), WriteError>, why: &str) {
    assert!(matches!(result, Err(WriteError::Conflict)), "{why}: {result:?}");
}

/// Sessions are read back by id and by stream, also in another process. A stream without a data key gets none.
pub async fn opened_session_is_read_back(harness: &Harness) {
    let (handle, store, ada) = with_user(harness).await;
    let (other, bob) = (harness.open_migrated().await, new_user(harness, &store).await);
    let (mine, hers) = (opened(harness, &handle, &ada, 3).await, opened(harness, &handle, &bob, 1).await);
    for record in mine.iter().chain(&hers) {
        assert_eq!(other.sessions.session(record.id).await.unwrap().as_ref(), Some(record));
    }
    assert_eq!(other.sessions.sessions_of(&ada).await.unwrap(), mine, "by ascending id");
    assert_eq!(other.sessions.sessions_of(&bob).await.unwrap(), hers);
    assert_eq!(other.sessions.session(Uuid::nil()).await.unwrap(), None);
    let stranger = record(harness, &harness.new_stream(), 9);
    assert_conflict(&handle.sessions.open_session(&stranger).await, "the stream has no data key");
    assert_eq!(other.sessions.session(stranger.id).await.unwrap(), None);
}

/// Of concurrent renewals of one generation one succeeds, and the stored session is that of the winner.
pub async fn concurrent_renewals_one_wins(harness: &Harness) {
    const RACERS: u64 = 50;
    let (handle, _, user) = with_user(harness).await;
    let handles = [handle.clone(), harness.open_migrated().await];
    let session = opened(harness, &handle, &user, 1).await.remove(0);
    let racers = (0..RACERS).map(|number| {
        let handle = handles[usize::try_from(number % 2).unwrap()].clone();
        let to = SessionRecord { rotation: json!({"racer": number}), ..renewed(&session) };
        async move { (renew(&handle, &to).await, to) }
    });
    let (won, lost): (Vec<_>, Vec<_>) =
        join_all(racers).await.into_iter().partition(|(result, _)| result.is_ok());
    assert_eq!(won.len(), 1);
    for (result, _) in &lost {
        assert_conflict(result, "another renewal came first");
    }
    assert_eq!(handle.sessions.session(session.id).await.unwrap().as_ref(), Some(&won[0].1));
    assert_conflict(&renew(&handle, &renewed(&session)).await, "the generation is stale");
}

/// A commit ends one session, all, or all but one; those of other streams stay, and an ended one is not recreated.
pub async fn commit_ends_sessions(harness: &Harness) {
    let (handle, store, ada) = with_user(harness).await;
    let bob = new_user(harness, &store).await;
    let (mine, hers) = (opened(harness, &handle, &ada, 5).await, opened(harness, &handle, &bob, 2).await);
    let ids: Vec<_> = mine.iter().map(|record| record.id).collect();
    append_writes(&store, [ending(harness, &ada, EndSessions::One(ids[0]))]).await.unwrap();
    assert_eq!(ids_of(&handle, &ada).await, ids[1..]);
    append_writes(&store, [ending(harness, &ada, EndSessions::One(hers[0].id))]).await.unwrap();
    append_writes(&store, [ending(harness, &ada, EndSessions::None)]).await.unwrap();
    assert_eq!(ids_of(&handle, &ada).await, ids[1..]);
    append_writes(&store, [ending(harness, &ada, keeping(&mine[2]))]).await.unwrap();
    let kept = SessionRecord { grant: json!({"kept": true}), ..mine[2].clone() };
    assert_eq!(handle.sessions.sessions_of(&ada).await.unwrap(), [kept]);
    append_writes(&store, [ending(harness, &ada, keeping(&hers[0]))]).await.unwrap();
    assert_eq!(ids_of(&handle, &ada).await, NO_SESSIONS, "a session of another stream is not kept");
    opened(harness, &handle, &ada, 2).await;
    append_writes(&store, [ending(harness, &ada, EndSessions::All)]).await.unwrap();
    assert_eq!(ids_of(&handle, &ada).await, NO_SESSIONS);
    assert_conflict(&renew(&handle, &renewed(&mine[2])).await, "the session has ended");
    assert_eq!(handle.sessions.session(mine[2].id).await.unwrap(), None);
    assert_eq!(handle.sessions.sessions_of(&bob).await.unwrap(), hers);
}

/// A commit that is refused ends nothing.
pub async fn refused_commit_ends_no_session(harness: &Harness) {
    let (handle, store, user) = with_user(harness).await;
    let sessions = opened(harness, &handle, &user, 2).await;
    for end in [EndSessions::One(sessions[0].id), EndSessions::All, keeping(&sessions[0])] {
        let write = StreamWrite { expected: ExpectedVersion::Exactly(7), ..ending(harness, &user, end) };
        let refused = append_writes(&store, [write]).await;
        assert!(matches!(refused, Err(AppendError::Conflict { .. })), "{refused:?}");
    }
    assert_eq!(handle.sessions.sessions_of(&user).await.unwrap(), sessions);
}

/// A renewal at the moment of a commit neither revives an ended session nor is undone in one that is kept.
pub async fn renewal_during_a_commit_is_lost_or_kept(harness: &Harness) {
    let (handle, store, _) = with_user(harness).await;
    let other = harness.open_migrated().await;
    for round in 0..10 {
        let user = new_user(harness, &store).await;
        let session = opened(harness, &handle, &user, 1).await.remove(0);
        let (is_kept, to) = (round % 2 == 0, renewed(&session));
        let end = if is_kept { keeping(&session) } else { EndSessions::All };
        let (renewal, ended) =
            join(renew(&other, &to), append_writes(&store, [ending(harness, &user, end)])).await;
        ended.unwrap();
        let stored = handle.sessions.session(session.id).await.unwrap();
        if is_kept {
            renewal.unwrap();
            assert_eq!(stored, Some(SessionRecord { grant: json!({"kept": true}), ..to }));
        } else {
            assert!(matches!(renewal, Ok(()) | Err(WriteError::Conflict)), "{renewal:?}");
            assert_eq!(stored, None, "{renewal:?}");
        }
    }
}

/// The commit that erases a stream deletes its sessions, and none is opened any more, not even at the same moment.
pub async fn erasure_deletes_sessions(harness: &Harness) {
    let (handle, store, ada) = with_user(harness).await;
    let (other, bob) = (harness.open_migrated().await, new_user(harness, &store).await);
    opened(harness, &handle, &ada, 3).await;
    let hers = opened(harness, &handle, &bob, 1).await;
    let erase = |user: &StreamId| StreamWrite { erase: true, ..ending(harness, user, EndSessions::None) };
    append_writes(&store, [erase(&ada)]).await.unwrap();
    assert_eq!(ids_of(&other, &ada).await, NO_SESSIONS);
    assert_conflict(&other.sessions.open_session(&record(harness, &ada, 9)).await, "the stream was erased");
    assert_eq!(other.sessions.sessions_of(&bob).await.unwrap(), hers);
    for _ in 0..20 {
        let user = new_user(harness, &store).await;
        let late = record(harness, &user, 1);
        let (open, erased) =
            join(other.sessions.open_session(&late), append_writes(&store, [erase(&user)])).await;
        erased.unwrap();
        assert!(matches!(open, Ok(()) | Err(WriteError::Conflict)), "{open:?}");
        assert_eq!(ids_of(&handle, &user).await, NO_SESSIONS, "{open:?}");
    }
}

/// A stream has at most [`MAX_SESSIONS`]: those that were renewed longest ago are deleted.
pub async fn sessions_of_a_stream_are_bounded(harness: &Harness) {
    let (handle, _, user) = with_user(harness).await;
    let sessions = opened(harness, &handle, &user, u64::try_from(MAX_SESSIONS).unwrap()).await;
    renew(&handle, &renewed(&sessions[0])).await.unwrap();
    let newest = record(harness, &user, 1_000);
    handle.sessions.open_session(&newest).await.unwrap();
    let stored: BTreeSet<_> = ids_of(&handle, &user).await.into_iter().collect();
    assert_eq!(stored.len(), MAX_SESSIONS);
    assert!(stored.contains(&newest.id) && stored.contains(&sessions[0].id));
    assert!(!stored.contains(&sessions[1].id), "it was renewed longest ago");
}

/// The order of renewals is kept, whatever the clocks of the nodes show: the newest session is not the one deleted.
pub async fn bound_of_sessions_holds_whatever_the_clocks_show(harness: &Harness) {
    let (handle, _, user) = with_user(harness).await;
    let sessions = opened(harness, &handle, &user, u64::try_from(MAX_SESSIONS).unwrap()).await;
    let behind = |session: SessionRecord| {
        let renewed_at = session.renewed_at - 24.hours();
        SessionRecord { renewed_at, ..session }
    };
    renew(&handle, &behind(renewed(&sessions[0]))).await.unwrap();
    let late = [0, 1].map(|number| behind(record(harness, &user, 2_000 - number)));
    for session in &late {
        handle.sessions.open_session(session).await.unwrap();
    }
    let stored: BTreeSet<_> = ids_of(&handle, &user).await.into_iter().collect();
    assert_eq!(stored.len(), MAX_SESSIONS);
    for (kept, what) in [(&late[1], "opened last"), (&late[0], "before"), (&sessions[0], "renewed before")] {
        assert!(stored.contains(&kept.id), "{what}");
    }
    assert!(!stored.contains(&sessions[1].id) && !stored.contains(&sessions[2].id));
}

/// Expired sessions are deleted in bounded steps; one that was renewed is not expired.
pub async fn expired_sessions_are_purged_in_bounded_steps(harness: &Harness) {
    const EXPIRED: usize = 1_000;
    const STEP: usize = 300;
    let (handle, store, user) = with_user(harness).await;
    let kept = opened(harness, &handle, &user, 2).await;
    renew(&handle, &renewed(&kept[1])).await.unwrap();
    let now = kept[0].expires_at + 30.minutes();
    for _ in 0..EXPIRED / MAX_SESSIONS {
        let user = new_user(harness, &store).await;
        let expired = (0..MAX_SESSIONS).map(|number| record(harness, &user, u64::try_from(number).unwrap()));
        for session in expired {
            handle.sessions.open_session(&session).await.unwrap();
        }
    }
    let mut purged = Vec::new();
    while purged.last() != Some(&0) {
        purged.push(handle.sessions.purge_sessions(now, STEP).await.unwrap());
    }
    assert_eq!(purged, [STEP, STEP, STEP, EXPIRED + 1 - 3 * STEP, 0]);
    assert_eq!(ids_of(&handle, &user).await, [kept[1].id]);
}

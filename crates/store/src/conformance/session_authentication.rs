//! Sessions as the service uses them: what was planted or edited in the database is refused, and the client is
//! unreadable after an erasure.

use std::sync::Arc;

use jiff::{Timestamp, ToSpan};
use serde_json::json;

use super::harness::{BackendHandle, Harness, append_writes};
use crate::append::{ExpectedVersion, StreamWrite};
use crate::env::Env;
use crate::event::StreamId;
use crate::event_store::EventStore;
use crate::key_store::{MasterKey, MasterKeys};
use crate::rotation::Rotation;
use crate::session_tokens::{NewSession, Session, Sessions};
use crate::sessions::{EndSessions, KeptSession, SessionRecord};

async fn with_user(harness: &Harness) -> (BackendHandle, EventStore, Sessions, StreamId) {
    let handle = harness.open_migrated().await;
    let store = harness.store_on(&handle).await;
    let sessions = Sessions::new(store.clone(), handle.sessions.clone());
    let user = new_user(harness, &store).await;
    (handle, store, sessions, user)
}

async fn new_user(harness: &Harness, store: &EventStore) -> StreamId {
    let user = harness.new_stream();
    append_writes(store, [harness.write(&user, ExpectedVersion::NoStream)]).await.unwrap();
    user
}

fn new_session(harness: &Harness, stream: &StreamId) -> NewSession {
    let now = Timestamp::from_second(harness.now().as_second()).unwrap();
    NewSession {
        stream: stream.clone(),
        version: 1,
        ends_at: now + 48.hours(),
        expires_at: now + 1.hour(),
        address: Some("192.0.2.1".to_owned()),
        user_agent: Some("curl".to_owned()),
    }
}

fn client(session: &Session) -> (Option<&str>, Option<&str>) {
    (session.address.as_deref(), session.user_agent.as_deref())
}

/// Opened on one node, found and renewed on another; the list is decrypted and begins with the last renewed.
pub async fn session_is_opened_renewed_and_listed(harness: &Harness) {
    let (_, store, mine, user) = with_user(harness).await;
    let other = harness.open_migrated().await;
    let theirs = Sessions::new(harness.store_on(&other).await, other.sessions.clone());
    let new = new_session(harness, &user);
    let first = mine.open(new.clone()).await.unwrap();
    let second = mine.open(NewSession { address: None, user_agent: None, ..new.clone() }).await.unwrap();
    let found = theirs.find(first.id).await.unwrap().unwrap();
    assert_eq!((&found.stream, found.version, found.generation), (&user, 1, 0));
    assert_eq!((found.ends_at, found.expires_at), (new.ends_at, new.expires_at));
    assert_eq!((found.epoch, client(&found)), (store.identity().epoch, (None, None)));
    let token = mine.refresh_token(first.id, 0);
    assert_eq!(theirs.parse_refresh_token(&token), Some((first.id, 0)));
    harness.set_clock(harness.now() + 1.second());
    let renewed = theirs.renew(&found, 0, new.expires_at + 1.hour()).await.unwrap();
    assert_eq!((renewed.generation, renewed.expires_at), (1, new.expires_at + 1.hour()));
    let listed = mine.of(&user).await.unwrap();
    let ids: Vec<_> = listed.iter().map(|session| session.id).collect();
    assert_eq!(ids, [first.id, second.id]);
    assert_eq!(client(&listed[0]), (Some("192.0.2.1"), Some("curl")));
    assert_eq!(client(&listed[1]), (None, None));
}

/// An edited record, parts copied from another session, another owner: each is refused and counted.
pub async fn changed_session_is_refused(harness: &Harness) {
    let (handle, store, sessions, ada) = with_user(harness).await;
    let bob = new_user(harness, &store).await;
    let mut records = Vec::new();
    for user in [&ada, &bob] {
        let opened = sessions.open(new_session(harness, user)).await.unwrap();
        records.push(handle.sessions.session(opened.id).await.unwrap().unwrap());
    }
    let (mine, theirs) = (&records[0], &records[1]);
    let edited = |part: &serde_json::Value, field: &str, value: serde_json::Value| {
        let mut part = part.clone();
        part[field] = value;
        part
    };
    let changes = [
        SessionRecord { grant: theirs.grant.clone(), ..mine.clone() },
        SessionRecord { rotation: theirs.rotation.clone(), ..mine.clone() },
        SessionRecord { grant: mine.rotation.clone(), rotation: mine.grant.clone(), ..mine.clone() },
        SessionRecord { grant: theirs.grant.clone(), rotation: theirs.rotation.clone(), ..mine.clone() },
        SessionRecord { stream: bob.clone(), ..mine.clone() },
        SessionRecord { generation: 7, ..mine.clone() },
        SessionRecord { grant: edited(&mine.grant, "version", json!(9)), ..mine.clone() },
        SessionRecord { grant: edited(&mine.grant, "epoch", json!(9)), ..mine.clone() },
        SessionRecord {
            rotation: edited(&mine.rotation, "generation", json!(9)),
            generation: 9,
            ..mine.clone()
        },
        SessionRecord { rotation: edited(&mine.rotation, "expires_at", json!(1_i64 << 52)), ..mine.clone() },
        SessionRecord { grant: json!({}), rotation: json!(null), ..mine.clone() },
    ];
    let count = u64::try_from(changes.len()).unwrap();
    for changed in changes {
        // Another id would make a copy; the same id replaces the session.
        append_writes(&store, [ending_one(harness, &ada, mine)]).await.unwrap();
        append_writes(&store, [ending_one(harness, &bob, mine)]).await.unwrap();
        handle.sessions.open_session(&changed).await.unwrap();
        assert!(sessions.find(mine.id).await.unwrap().is_none(), "{changed:?}");
    }
    assert_eq!(store.metrics().tampering().counted("session"), count);
    assert!(sessions.find(theirs.id).await.unwrap().is_some());
    let copied = SessionRecord { id: uuid::Uuid::from_u128(7), ..theirs.clone() };
    handle.sessions.open_session(&copied).await.unwrap();
    assert!(sessions.find(copied.id).await.unwrap().is_none(), "a session that was copied under another id");
    let listed: Vec<_> = sessions.of(&bob).await.unwrap().into_iter().map(|session| session.id).collect();
    assert_eq!(listed, [theirs.id]);
}

fn ending_one(harness: &Harness, stream: &StreamId, session: &SessionRecord) -> StreamWrite {
    let write = StreamWrite::new(stream.clone(), ExpectedVersion::Any, vec![harness.plain_event()]);
    StreamWrite { end_sessions: EndSessions::One(session.id), ..write }
}

/// The kept session is found with the new version; a session of another user is not kept.
pub async fn kept_session_gets_the_new_version(harness: &Harness) {
    let (_, store, sessions, ada) = with_user(harness).await;
    let bob = new_user(harness, &store).await;
    let mine = sessions.open(new_session(harness, &ada)).await.unwrap();
    let ended = sessions.open(new_session(harness, &ada)).await.unwrap();
    let kept: KeptSession = sessions.keep(&ada, mine.id, 2).await.unwrap().unwrap();
    assert_eq!(sessions.keep(&bob, mine.id, 2).await.unwrap(), None);
    let write = StreamWrite::new(ada.clone(), ExpectedVersion::Exactly(1), vec![harness.plain_event()]);
    append_writes(&store, [StreamWrite { end_sessions: EndSessions::AllBut(kept), ..write }]).await.unwrap();
    assert!(sessions.find(ended.id).await.unwrap().is_none());
    let found = sessions.find(mine.id).await.unwrap().unwrap();
    assert_eq!((found.version, found.generation), (2, 0));
    assert_eq!(client(&sessions.of(&ada).await.unwrap()[0]), (Some("192.0.2.1"), Some("curl")));
}

/// The erasure destroys the key of the client: a copy of the session that was put back reveals nothing.
pub async fn erased_client_is_unreadable(harness: &Harness) {
    let (handle, store, sessions, user) = with_user(harness).await;
    let opened = sessions.open(new_session(harness, &user)).await.unwrap();
    let stored = handle.sessions.session(opened.id).await.unwrap().unwrap();
    let shown = format!("{stored:?}");
    assert!(!shown.contains("192.0.2.1") && !shown.contains("curl"), "{shown}");
    let write = StreamWrite::new(user.clone(), ExpectedVersion::Any, vec![harness.plain_event()]);
    append_writes(&store, [StreamWrite { erase: true, ..write }]).await.unwrap();
    assert!(sessions.find(opened.id).await.unwrap().is_none());
    assert!(sessions.of(&user).await.unwrap().is_empty());
    let again = sessions.open(new_session(harness, &user)).await;
    assert!(matches!(again, Err(crate::error::WriteError::Conflict)));
}

/// Sessions and refresh tokens from before a rotation of the master key are those after it.
pub async fn sessions_outlive_a_rotation_of_the_master_key(harness: &Harness) {
    let env = Env::system();
    let (old, new) = (MasterKey::generate(&env), MasterKey::generate(&env));
    let handle = harness.open_unmigrated().await;
    let store = harness.open_with_master_keys(&handle, old.clone()).await.unwrap();
    let sessions = Sessions::new(store.clone(), handle.sessions.clone());
    let user = new_user(harness, &store).await;
    let opened = sessions.open(new_session(harness, &user)).await.unwrap();
    let masters = Arc::new(MasterKeys::new(new.clone(), [old]));
    Rotation::new(handle.keys.clone(), masters, env).run(&mut |_, _| {}).await.unwrap();
    let store = harness.open_with_master_keys(&handle, new).await.unwrap();
    let after = Sessions::new(store, handle.sessions.clone());
    assert!(after.find(opened.id).await.unwrap().is_some());
    assert_eq!(client(&after.of(&user).await.unwrap()[0]), (Some("192.0.2.1"), Some("curl")));
    let token = sessions.refresh_token(opened.id, 0);
    assert_eq!(after.parse_refresh_token(&token), Some((opened.id, 0)));
}

//! Rotating the master key: nobody becomes unreadable, nobody comes back, whatever goes on beside it and wherever it stops.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use async_trait::async_trait;
use futures::future::join_all;
use tokio::sync::Mutex;

use super::world::{Handle, World, all, object, put};
use crate::ambient::Ambient;
use crate::append::{AppendError, Expected, StreamWrite};
use crate::error::StoreError;
use crate::event::{PersonalData, StreamId};
use crate::event_store::EventStore;
use crate::rotation::{CLAIMS, Rewrapped, Rotated, Rotation, SIGNING, Survey, Wrapped, WrappedKeys};
use crate::vault::{KeyId, MasterKey, MasterKeys};

/// A database under one master key, and others that it may be rotated to.
struct Keys {
    handle: Handle,
    old: MasterKey,
    new: MasterKey,
    newest: MasterKey,
}

impl Keys {
    async fn of(world: &World) -> Self {
        let ambient = Ambient::system();
        let handle = world.untouched().await;
        let [old, new, newest] = [(); 3].map(|()| MasterKey::generate(&ambient));
        world.open(&handle, old.clone()).await.unwrap();
        Self { handle, old, new, newest }
    }

    /// The new key, with that of before.
    fn both(&self) -> MasterKeys {
        MasterKeys::new(self.new.clone(), [self.old.clone()])
    }

    /// As a process has them that was started before the new key was the current one.
    fn both_with_old_first(&self) -> MasterKeys {
        MasterKeys::new(self.old.clone(), [self.new.clone()])
    }

    fn rotation(&self, masters: impl Into<MasterKeys>) -> Rotation {
        Rotation::new(self.handle.keys.clone(), Arc::new(masters.into()), Ambient::system())
    }

    async fn rotate(&self) -> Rotated {
        self.rotation(self.both()).run(&mut |_, _| {}).await.unwrap()
    }

    async fn survey(&self) -> Survey {
        self.rotation(self.both()).survey().await.unwrap()
    }
}

/// A person whose e-mail address is `<name>@example.com`.
async fn join(world: &World, store: &EventStore, name: &str) -> StreamId {
    let stream = world.stream();
    put(store, [world.claiming(&stream, &format!("{name}@example.com"))]).await.unwrap();
    stream
}

async fn erase(world: &World, store: &EventStore, stream: &StreamId) -> Result<(), AppendError> {
    let last = vec![world.plain_event()];
    let write = StreamWrite { erase: true, ..StreamWrite::new(stream.clone(), Expected::Any, last) };
    put(store, [write]).await.map(drop)
}

/// Every event of the log is readable, but for those of these streams, which are erased.
async fn assert_readable(store: &EventStore, erased: &[StreamId]) {
    for event in all(store).await.iter().filter(|event| event.envelope.sealed.is_some()) {
        let gone = erased.contains(&event.envelope.stream);
        assert_eq!(event.personal == PersonalData::Erased, gone, "{:?}", event.envelope.stream);
    }
}

fn assert_names(refused: &StoreError, missing: &MasterKey) {
    let named = |what: &str| what.contains(&missing.id().to_string());
    assert!(matches!(refused, StoreError::KeyMissing(what) if named(what)), "{refused:?}");
}

/// What the service could not open it names, and leaves the database as it was.
async fn assert_refused(world: &World, keys: &Keys, given: &MasterKey, missing: &MasterKey) {
    let before = keys.handle.keys.service_keys().await.unwrap();
    let refused = world.open(&keys.handle, given.clone()).await.map(drop).unwrap_err();
    assert_names(&refused, missing);
    assert_eq!(keys.handle.keys.service_keys().await.unwrap(), before);
}

/// After it the new key alone opens everything, and the old one alone opens nothing; doing it again changes nothing.
pub async fn a_rotation_takes_every_key_along(world: &World) {
    let keys = Keys::of(world).await;
    let store = world.open(&keys.handle, keys.old.clone()).await.unwrap();
    let (_, bob) = (join(world, &store, "ada").await, join(world, &store, "bob").await);
    join(world, &store, "cid").await;
    erase(world, &store, &bob).await.unwrap();
    let before = keys.survey().await;
    assert_eq!((before.wrapping, before.streams()), (Some(keys.old.id()), 2));
    assert!(before.is_all_by(keys.old.id()) && !keys.rotation(keys.both()).is_done().await.unwrap());
    assert_refused(world, &keys, &keys.new, &keys.old).await;

    let done = keys.rotate().await;
    assert_eq!((done.master, done.streams, done.damaged), (keys.new.id(), 2, None));
    assert_eq!(done.service_keys, [SIGNING, CLAIMS]);
    assert_eq!(done.left, keys.survey().await);
    assert!(done.left.is_all_by(keys.new.id()), "{:?}", done.left);
    assert!(keys.rotation(keys.both()).is_done().await.unwrap());
    let now = world.open(&keys.handle, keys.new.clone()).await.unwrap();
    assert_readable(&now, std::slice::from_ref(&bob)).await;
    assert_refused(world, &keys, &keys.old, &keys.new).await;
    // Claims are hashed under a key that has stayed the same.
    let twin = put(&now, [world.claiming(&world.stream(), "ada@example.com")]).await;
    assert!(matches!(twin, Err(AppendError::ClaimTaken { .. })), "{twin:?}");

    let stored = keys.handle.keys.wrapped_keys(None, 100).await.unwrap();
    let again = keys.rotate().await;
    assert_eq!((again.streams, again.service_keys.len()), (0, 0));
    assert_eq!(keys.handle.keys.wrapped_keys(None, 100).await.unwrap(), stored);
}

/// Those who come meanwhile are wrapped by the new key, and those who are erased stay so.
pub async fn people_come_and_go_beside_a_rotation(world: &World) {
    let keys = Keys::of(world).await;
    let first = world.open(&keys.handle, keys.both_with_old_first()).await.unwrap();
    let second = world.open(&world.untouched().await, keys.both()).await.unwrap();
    let mut people = Vec::new();
    for number in 0..40 {
        people.push(join(world, &first, &format!("early{number}")).await);
    }
    let gone: Vec<_> = people.iter().step_by(2).cloned().collect();
    let coming = async {
        for number in 0..20 {
            let (one, other) = (format!("late{number}"), format!("later{number}"));
            tokio::join!(join(world, &first, &one), join(world, &second, &other));
        }
    };
    let going = async {
        for stream in &gone {
            erase(world, &second, stream).await.unwrap();
        }
    };
    let (done, (), ()) = tokio::join!(keys.rotate(), coming, going);
    assert_eq!(done.damaged, None);
    let left = keys.survey().await;
    assert!(left.is_all_by(keys.new.id()), "{left:?}");
    assert_eq!(left.streams(), 60);
    let now = world.open(&keys.handle, keys.new.clone()).await.unwrap();
    for store in [&first, &second, &now] {
        assert_readable(store, &gone).await;
    }
}

/// From its first step on, whoever wraps by the old key is told, has the key wrapped anew if they can, and is refused if
/// not. Nothing of theirs is in the log then.
pub async fn a_rotation_that_has_begun_lets_no_old_key_through(world: &World) {
    let keys = Keys::of(world).await;
    let able = world.open(&keys.handle, keys.both_with_old_first()).await.unwrap();
    let unable = world.open(&keys.handle, keys.old.clone()).await.unwrap();
    let ada = join(world, &unable, "ada").await;
    let stopping = Stopping::after(keys.handle.keys.clone(), 1);
    let rotation = Rotation::new(stopping, Arc::new(keys.both()), Ambient::system());
    rotation.run(&mut |_, _| {}).await.unwrap_err();
    assert_eq!(keys.survey().await.wrapping, Some(keys.new.id()));

    join(world, &able, "bob").await;
    assert_eq!(keys.survey().await.of(keys.new.id()).streams, 1, "it was wrapped by the new key");
    let cid = world.claiming(&world.stream(), "cid@example.com");
    for _ in 0..2 {
        let refused = put(&unable, [cid.clone()]).await.unwrap_err();
        let AppendError::Store(refused) = refused else { unreachable!("{refused:?}") };
        assert_names(&refused, &keys.new);
    }
    assert_eq!(unable.head().await.unwrap().position.get(), 2);
    // Whom it can open, it goes on serving; whom it cannot, it does not take for somebody who never was.
    put(&unable, [world.write(&ada, Expected::Any)]).await.unwrap();
    let unread = unable.read(&crate::backend::EventQuery { limit: 9, ..Default::default() }).await;
    assert_names(&unread.unwrap_err(), &keys.new);
    keys.rotate().await;
    assert_readable(&able, &[]).await;
}

/// Wherever it stops, whoever has both keys can start and read, and going on with it gets to the end; nobody starts with
/// the new key alone as long as somebody needs the old one.
pub async fn an_interrupted_rotation_is_gone_on_with(world: &World) {
    let keys = Keys::of(world).await;
    let store = world.open(&keys.handle, keys.old.clone()).await.unwrap();
    let names: Vec<_> = (0..1100).map(|number| format!("user{number}")).collect();
    join_all(names.iter().map(|name| join(world, &store, name))).await;
    let mut interruptions = 0;
    loop {
        // One step of each try is done, the next one fails.
        let stopping = Stopping::after(keys.handle.keys.clone(), 1);
        let rotation = Rotation::new(stopping, Arc::new(keys.both()), Ambient::system());
        if let Ok(done) = rotation.run(&mut |_, _| {}).await {
            assert!(done.left.is_all_by(keys.new.id()), "{:?}", done.left);
            break;
        }
        interruptions += 1;
        assert_refused(world, &keys, &keys.new, &keys.old).await;
        let both = world.open(&keys.handle, keys.both()).await.unwrap();
        assert_eq!(all(&both).await.len(), names.len());
    }
    assert_eq!(interruptions, 4, "the first service key, then three pages");
    assert_readable(&world.open(&keys.handle, keys.new.clone()).await.unwrap(), &[]).await;
}

/// Two rotations to the same key share the work. Of two to different keys, the one that began later has its way.
pub async fn rotations_at_once_do_no_harm(world: &World) {
    let keys = Keys::of(world).await;
    let store = world.open(&keys.handle, keys.old.clone()).await.unwrap();
    let names: Vec<_> = (0..60).map(|number| format!("user{number}")).collect();
    join_all(names.iter().map(|name| join(world, &store, name))).await;
    let (one, other) = tokio::join!(keys.rotate(), keys.rotate());
    assert_eq!(one.streams + other.streams, 60);
    assert!(keys.survey().await.is_all_by(keys.new.id()));

    let three = || MasterKeys::new(keys.newest.clone(), [keys.new.clone(), keys.old.clone()]);
    let back = || MasterKeys::new(keys.old.clone(), [keys.new.clone(), keys.newest.clone()]);
    let (to_newest, to_old) = (keys.rotation(three()), keys.rotation(back()));
    let (mut nothing, mut either) = (|_, _| {}, |_, _| {});
    let (first, second) = tokio::join!(to_newest.run(&mut nothing), to_old.run(&mut either));
    for outcome in [first, second] {
        let told = outcome.as_ref().err();
        let overtaken =
            |error: &StoreError| matches!(error, StoreError::Refused(what) if what.contains("meanwhile"));
        assert!(told.is_none_or(overtaken), "{outcome:?}");
    }
    to_newest.run(&mut |_, _| {}).await.unwrap();
    assert!(keys.survey().await.is_all_by(keys.newest.id()));
    let now = world.open(&keys.handle, keys.newest.clone()).await.unwrap();
    assert_readable(&now, &[]).await;
}

/// Compared and set: what has changed, or is erased, stays as it is. What nobody was given is counted too.
pub async fn keys_are_replaced_only_as_they_were(world: &World) {
    let keys = Keys::of(world).await;
    let store = world.open(&keys.handle, keys.old.clone()).await.unwrap();
    let (ada, bob) = (join(world, &store, "ada").await, join(world, &store, "bob").await);
    let port = &keys.handle.keys;
    let stored: BTreeMap<_, _> = port.wrapped_keys(None, 10).await.unwrap().into_iter().collect();
    let to = keys.newest.wrap(ada.as_str(), &[7; 32], &Ambient::system()).unwrap();
    let change = |stream: &StreamId, from: &[u8]| Rewrapped {
        stream: stream.clone(),
        from: from.to_vec(),
        to: to.clone(),
    };
    erase(world, &store, &bob).await.unwrap();
    let changes =
        [change(&bob, &stored[&bob]), change(&ada, &stored[&bob]), change(&world.stream(), &stored[&ada])];
    assert_eq!(port.replace_keys(&changes).await.unwrap(), 0);
    assert_eq!(port.wrapped_keys(None, 10).await.unwrap(), [(ada.clone(), stored[&ada].clone())]);
    assert_readable(&store, std::slice::from_ref(&bob)).await;

    assert_eq!(port.replace_keys(&[change(&ada, &stored[&ada])]).await.unwrap(), 1);
    join(world, &store, "cid").await;
    for known in [&[][..], &[keys.old.id()], &[keys.newest.id(), keys.old.id()]] {
        let counted = port.count_keys(known).await.unwrap();
        let counted: Vec<_> = counted.into_iter().filter(|(_, count)| *count > 0).collect();
        let mut expected = vec![(Some(keys.old.id()), 1), (Some(keys.newest.id()), 1)];
        expected.sort_unstable();
        assert_eq!(counted, expected);
    }
    let service = port.service_keys().await.unwrap();
    assert!(!port.replace_service_key(SIGNING, &service[CLAIMS], &to).await.unwrap());
    assert_eq!(port.service_keys().await.unwrap(), service);
    // A rotation takes along what it can, and says what it cannot.
    let done = keys.rotate().await;
    assert_eq!((done.streams, done.service_keys.len()), (1, 2));
    assert_eq!(done.left.of(keys.newest.id()).streams, 1);
}

/// What somebody else was quicker to change is looked at again.
pub async fn a_key_that_changes_meanwhile_is_not_left_behind(world: &World) {
    let keys = Keys::of(world).await;
    let store = world.open(&keys.handle, keys.old.clone()).await.unwrap();
    for name in ["ada", "bob"] {
        join(world, &store, name).await;
    }
    let (stream, from) = keys.handle.keys.wrapped_keys(None, 1).await.unwrap().remove(0);
    let key = keys.old.unwrap(stream.as_str(), &from).unwrap();
    let to = keys.old.wrap(stream.as_str(), &key, &Ambient::system()).unwrap();
    let stopping = Stopping::after(keys.handle.keys.clone(), usize::MAX);
    *stopping.before.lock().await = vec![Rewrapped { stream, from, to }];
    let rotation = Rotation::new(stopping, Arc::new(keys.both()), Ambient::system());
    let done = rotation.run(&mut |_, _| {}).await.unwrap();
    assert_eq!((done.streams, done.service_keys.as_slice()), (2, &[SIGNING, CLAIMS][..]));
    assert!(done.left.is_all_by(keys.new.id()), "{:?}", done.left);
}

/// A key that does not open is left to those who look into it, and with it the old master key.
pub async fn a_damaged_key_keeps_the_old_master_key_needed(world: &World) {
    let keys = Keys::of(world).await;
    let store = world.open(&keys.handle, keys.old.clone()).await.unwrap();
    let (ada, bob) = (join(world, &store, "ada").await, join(world, &store, "bob").await);
    let port = &keys.handle.keys;
    let stored: BTreeMap<_, _> = port.wrapped_keys(None, 10).await.unwrap().into_iter().collect();
    let swap = |stream: &StreamId, to: &[u8]| Rewrapped {
        stream: stream.clone(),
        from: stored[stream].clone(),
        to: to.to_vec(),
    };
    port.replace_keys(&[swap(&ada, &stored[&bob])]).await.unwrap();
    let done = keys.rotate().await;
    assert_eq!(
        (done.streams, done.damaged.as_ref(), done.service_keys.as_slice()),
        (1, Some(&ada), &[SIGNING][..])
    );
    assert_refused(world, &keys, &keys.new, &keys.old).await;
    let put_back = Rewrapped { stream: ada.clone(), from: stored[&bob].clone(), to: stored[&ada].clone() };
    port.replace_keys(&[put_back]).await.unwrap();
    let done = keys.rotate().await;
    assert_eq!((done.streams, done.damaged, done.service_keys.as_slice()), (1, None, &[CLAIMS][..]));
    let now = world.open(&keys.handle, keys.new.clone()).await.unwrap();
    assert_eq!(all(&now).await[0].personal, PersonalData::Known(object("email", "ada@example.com")));
}

/// Wrapped keys of which only so many changes are made before the next one fails.
struct Stopping {
    keys: Arc<dyn WrappedKeys>,
    left: AtomicUsize,
    /// What somebody else does before the first of them.
    before: Mutex<Vec<Rewrapped>>,
}

impl Stopping {
    fn after(keys: Arc<dyn WrappedKeys>, changes: usize) -> Arc<Self> {
        Arc::new(Self { keys, left: AtomicUsize::new(changes), before: Mutex::default() })
    }

    fn change(&self) -> Result<(), StoreError> {
        let one = |left: usize| left.checked_sub(1);
        let left = self.left.fetch_update(Ordering::Relaxed, Ordering::Relaxed, one);
        left.map(drop).map_err(|_| StoreError::Unavailable { what: "it stops here".to_owned(), source: None })
    }
}

#[async_trait]
impl WrappedKeys for Stopping {
    async fn service_keys(&self) -> Result<BTreeMap<String, Vec<u8>>, StoreError> {
        self.keys.service_keys().await
    }

    async fn count_keys(&self, known: &[KeyId]) -> Result<BTreeMap<Option<KeyId>, u64>, StoreError> {
        self.keys.count_keys(known).await
    }

    async fn wrapped_keys(&self, after: Option<&StreamId>, limit: usize) -> Result<Vec<Wrapped>, StoreError> {
        self.keys.wrapped_keys(after, limit).await
    }

    async fn replace_keys(&self, changes: &[Rewrapped]) -> Result<u64, StoreError> {
        self.change()?;
        let before = std::mem::take(&mut *self.before.lock().await);
        self.keys.replace_keys(&before).await?;
        self.keys.replace_keys(changes).await
    }

    async fn replace_service_key(&self, name: &str, from: &[u8], to: &[u8]) -> Result<bool, StoreError> {
        self.change()?;
        self.keys.replace_service_key(name, from, to).await
    }
}

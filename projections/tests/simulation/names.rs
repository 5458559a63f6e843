//! What clients do to things: everything that the log allows, also what users cannot ask for yet. They take names, give them
//! back, swap them, write to several streams at once, and erase.

use serde_json::{Map, Value};
use store::{Expected, PersonalData, Recorded, StoreError, StreamId, StreamWrite};

use crate::client::{Client, claim};
use crate::things::{ERASED, thing};

const KINDS: [&str; 2] = ["email", "username"];
/// The last name was given back.
const PARTED: &str = "ThingParted";
/// A name was taken.
const NAMED: &str = "ThingNamed";
/// Streams that everybody writes to.
const BUSY: u64 = 2;

/// A thing as its stream tells.
struct Thing {
    stream: StreamId,
    version: u64,
    /// The last name of each of [`KINDS`].
    names: [Option<String>; 2],
}

impl Client {
    /// Opens a thing with an e-mail, a username, or both.
    pub(crate) async fn open_thing(&self) {
        let stream = self.new_thing();
        let write = self.opening(stream);
        self.append(vec![write]).await;
    }

    /// Gives a thing another name, or none.
    pub(crate) async fn rename_thing(&self) {
        let Some(Ok(thing)) = self.load_some_thing().await else { return };
        let kind = self.kind();
        let mut write = if self.chance.happens(250) {
            let parted =
                self.event(PARTED, Map::from_iter([("kind".to_owned(), KINDS[kind].into())]), Map::new());
            StreamWrite::new(thing.stream.clone(), self.expected(thing.version), vec![parted])
        } else {
            self.naming(&thing, &[(kind, self.name())])
        };
        write.release.extend(thing.names[kind].as_ref().map(|name| claim(KINDS[kind], name)));
        self.append(vec![write]).await;
    }

    /// Swaps a name of one thing with that of another.
    pub(crate) async fn swap_names(&self) {
        let (Some(Ok(one)), Some(Ok(other))) = (self.load_some_thing().await, self.load_some_thing().await)
        else {
            return;
        };
        let kind = self.kind();
        let (Some(left), Some(right)) = (&one.names[kind], &other.names[kind]) else { return };
        if one.stream == other.stream {
            return;
        }
        let mut writes = vec![self.naming(&one, &[(kind, right)]), self.naming(&other, &[(kind, left)])];
        writes[0].release.push(claim(KINDS[kind], left));
        writes[1].release.push(claim(KINDS[kind], right));
        self.append(writes).await;
    }

    /// Writes to streams that others write to at the same time, and opens one along with them.
    pub(crate) async fn write_to_several(&self) {
        let mut writes = Vec::new();
        for number in 0..BUSY {
            if self.chance.happens(600) {
                let expected = match self.chance.below(3) {
                    0 => Expected::Any,
                    1 => Expected::version(self.chance.below(4)),
                    _ => match self.read(&thing(number)).await {
                        Ok(events) => Expected::version(u64::try_from(events.len()).unwrap()),
                        Err(_) => return,
                    },
                };
                let events = (0..self.chance.within(1..=3)).map(|_| self.plain_event()).collect();
                writes.push(StreamWrite::new(thing(number), expected, events));
            }
        }
        if self.chance.happens(300) || writes.is_empty() {
            let stream = self.new_thing();
            writes.push(self.opening(stream));
        }
        self.append(writes).await;
    }

    /// Erases a thing; sometimes another one takes its name in the same append.
    pub(crate) async fn erase_thing(&self) {
        let Some(Ok(thing)) = self.load_some_thing().await else { return };
        let last = self.event(ERASED, Map::new(), Map::new());
        let erase = StreamWrite {
            erase: true,
            ..StreamWrite::new(thing.stream.clone(), self.expected(thing.version), vec![last])
        };
        let kind = self.kind();
        let mut writes = vec![erase];
        if let Some(name) = thing.names[kind].as_ref().filter(|_| self.chance.happens(300)) {
            let heir = Thing { stream: self.new_thing(), version: 0, names: [None, None] };
            writes.push(self.naming(&heir, &[(kind, name)]));
        }
        self.append(writes).await;
    }

    /// Asks for what cannot be done.
    pub(crate) async fn erase_what_is_not_personal(&self) {
        let erase = StreamWrite {
            erase: true,
            ..StreamWrite::new(thing(0), Expected::Any, vec![self.plain_event()])
        };
        self.append(vec![erase]).await;
    }

    pub(crate) async fn read(&self, stream: &StreamId) -> Result<Vec<Recorded>, StoreError> {
        let read = self.node.store.read_stream(stream).await;
        if let Err(error) = &read
            && !error.is_transient()
        {
            self.world.broken(format!("stream {stream} could not be read: {error}"));
        }
        read
    }

    fn kind(&self) -> usize {
        usize::from(self.chance.happens(500))
    }

    fn new_thing(&self) -> StreamId {
        let mut things = self.world.things.lock().unwrap();
        let stream = thing(BUSY + u64::try_from(things.len()).unwrap());
        things.push(stream.clone());
        stream
    }

    fn opening(&self, stream: StreamId) -> StreamWrite {
        let all = [(0, self.name()), (1, self.name())];
        let names = match self.chance.below(3) {
            0 => &all[..1],
            1 => &all[1..],
            _ => &all[..],
        };
        self.naming(&Thing { stream, version: 0, names: [None, None] }, names)
    }

    /// A write that takes these names.
    fn naming(&self, thing: &Thing, names: &[(usize, &str)]) -> StreamWrite {
        let personal = names.iter().map(|(kind, name)| (KINDS[*kind].to_owned(), Value::from(*name)));
        let event = self.event(NAMED, Map::new(), personal.collect());
        let expected = self.expected(thing.version);
        let take = names.iter().map(|(kind, name)| claim(KINDS[*kind], name)).collect();
        StreamWrite { take, ..StreamWrite::new(thing.stream.clone(), expected, vec![event]) }
    }

    async fn load_some_thing(&self) -> Option<Result<Thing, StoreError>> {
        let stream = self.some_thing()?;
        Some(self.read(&stream).await.map(|events| Thing::of(stream, &events)))
    }
}

impl Thing {
    fn of(stream: StreamId, events: &[Recorded]) -> Self {
        let mut names = [None, None];
        for event in events {
            for (kind, name) in KINDS.iter().zip(&mut names) {
                let parted = event.envelope.data.get("kind").and_then(Value::as_str) == Some(*kind);
                let personal = match &event.personal {
                    PersonalData::Known(personal) => personal.get(*kind).and_then(Value::as_str),
                    PersonalData::Erased => None,
                };
                if parted {
                    *name = None;
                } else if let Some(taken) = personal {
                    *name = Some(taken.to_owned());
                }
            }
        }
        Self { stream, version: u64::try_from(events.len()).unwrap(), names }
    }
}

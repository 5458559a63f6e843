//! Operations on items: whatever the log allows beyond user commands. Clients claim names, release them, swap
//! them, write to several streams at once, and erase.

use serde_json::{Map, Value};
use store::{ExpectedVersion, PersonalData, StoreError, StoredEvent, StreamId, StreamWrite};

use crate::client::{Client, claim};
use crate::item_projection::{ERASED, item_stream};

const KINDS: [&str; 2] = ["email", "username"];
/// A name was released.
const NAME_RELEASED: &str = "ItemParted";
/// A name was claimed.
const NAME_TAKEN: &str = "ItemNamed";
/// Streams that every client writes to.
const SHARED_STREAMS: u64 = 2;

/// An item, folded from its stream.
struct Item {
    stream: StreamId,
    version: u64,
    /// The last name of each of [`KINDS`].
    names: [Option<String>; 2],
}

impl Client {
    /// Creates an item with an e-mail, a username, or both.
    pub(crate) async fn open_item(&self) {
        let stream = self.new_item();
        let write = self.creating(stream);
        self.append(vec![write]).await;
    }

    /// Changes or releases a name of an item.
    pub(crate) async fn rename_item(&self) {
        let Some(Ok(item)) = self.load_random_item().await else { return };
        let kind = self.kind();
        let mut write = if self.random.permille(250) {
            let parted = self.event(
                NAME_RELEASED,
                Map::from_iter([("kind".to_owned(), KINDS[kind].into())]),
                Map::new(),
            );
            StreamWrite::new(item.stream.clone(), self.expected(item.version), vec![parted])
        } else {
            self.naming(&item, &[(kind, self.name())])
        };
        write.release.extend(item.names[kind].as_ref().map(|name| claim(KINDS[kind], name)));
        self.append(vec![write]).await;
    }

    /// Swaps a name of one item with that of another.
    pub(crate) async fn swap_names(&self) {
        let (Some(Ok(one)), Some(Ok(other))) = (self.load_random_item().await, self.load_random_item().await)
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

    /// Writes to contended streams, and creates one along with them.
    pub(crate) async fn write_several_streams(&self) {
        let mut writes = Vec::new();
        for number in 0..SHARED_STREAMS {
            if self.random.permille(600) {
                let expected = match self.random.below(3) {
                    0 => ExpectedVersion::Any,
                    1 => ExpectedVersion::version(self.random.below(4)),
                    _ => match self.read(&item_stream(number)).await {
                        Ok(events) => ExpectedVersion::version(u64::try_from(events.len()).unwrap()),
                        Err(_) => return,
                    },
                };
                let events = (0..self.random.within(1..=3)).map(|_| self.plain_event()).collect();
                writes.push(StreamWrite::new(item_stream(number), expected, events));
            }
        }
        if self.random.permille(300) || writes.is_empty() {
            let stream = self.new_item();
            writes.push(self.creating(stream));
        }
        self.append(writes).await;
    }

    /// Erases an item; sometimes another one claims its name in the same append.
    pub(crate) async fn erase_item(&self) {
        let Some(Ok(item)) = self.load_random_item().await else { return };
        let last = self.event(ERASED, Map::new(), Map::new());
        let erase = StreamWrite {
            erase: true,
            ..StreamWrite::new(item.stream.clone(), self.expected(item.version), vec![last])
        };
        let kind = self.kind();
        let mut writes = vec![erase];
        if let Some(name) = item.names[kind].as_ref().filter(|_| self.random.permille(300)) {
            let heir = Item { stream: self.new_item(), version: 0, names: [None, None] };
            writes.push(self.naming(&heir, &[(kind, name)]));
        }
        self.append(writes).await;
    }

    /// Requests an invalid erasure.
    pub(crate) async fn erase_without_personal_data(&self) {
        let erase = StreamWrite {
            erase: true,
            ..StreamWrite::new(item_stream(0), ExpectedVersion::Any, vec![self.plain_event()])
        };
        self.append(vec![erase]).await;
    }

    pub(crate) async fn read(&self, stream: &StreamId) -> Result<Vec<StoredEvent>, StoreError> {
        let read = self.node.store.read_stream(stream).await;
        if let Err(error) = &read
            && !error.is_transient()
        {
            self.simulation.report_violation(format!("stream {stream} could not be read: {error}"));
        }
        read
    }

    fn kind(&self) -> usize {
        usize::from(self.random.permille(500))
    }

    fn new_item(&self) -> StreamId {
        let mut items = self.simulation.items.lock().unwrap();
        let stream = item_stream(SHARED_STREAMS + u64::try_from(items.len()).unwrap());
        items.push(stream.clone());
        stream
    }

    fn creating(&self, stream: StreamId) -> StreamWrite {
        let all = [(0, self.name()), (1, self.name())];
        let names = match self.random.below(3) {
            0 => &all[..1],
            1 => &all[1..],
            _ => &all[..],
        };
        self.naming(&Item { stream, version: 0, names: [None, None] }, names)
    }

    /// A write that claims these names.
    fn naming(&self, item: &Item, names: &[(usize, &str)]) -> StreamWrite {
        let personal = names.iter().map(|(kind, name)| (KINDS[*kind].to_owned(), Value::from(*name)));
        let event = self.event(NAME_TAKEN, Map::new(), personal.collect());
        let expected = self.expected(item.version);
        let take = names.iter().map(|(kind, name)| claim(KINDS[*kind], name)).collect();
        StreamWrite { take, ..StreamWrite::new(item.stream.clone(), expected, vec![event]) }
    }

    async fn load_random_item(&self) -> Option<Result<Item, StoreError>> {
        let stream = self.random_item()?;
        Some(self.read(&stream).await.map(|events| Item::of(stream, &events)))
    }
}

impl Item {
    fn of(stream: StreamId, events: &[StoredEvent]) -> Self {
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

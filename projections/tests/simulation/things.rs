//! Streams that are no users, and the smallest read model there is: it shows an event that is skipped, taken in twice
//! or out of order, and rows that go.

use std::hash::{DefaultHasher, Hash, Hasher};

use projections::{Poison, Projection};
use serde_json::Value;
use store::{Column, ColumnKind, Pair, Recorded, Row, StreamId, Table};

/// The rows of `things`.
pub(crate) static THINGS: Pair = Pair { name: "things", tables: [&FIRST, &SECOND] };

static FIRST: Table = Table { name: "things_1", columns: &COLUMNS, indexes: &[] };
static SECOND: Table = Table { name: "things_1_b", columns: &COLUMNS, indexes: &[] };

static COLUMNS: [Column; 4] = [
    Column { name: "id", kind: ColumnKind::Text },
    Column { name: "count", kind: ColumnKind::Integer },
    Column { name: "position", kind: ColumnKind::Integer },
    Column { name: "trail", kind: ColumnKind::Text },
];

/// The last event of a thing.
pub(crate) const ERASED: &str = "ThingErased";

pub(crate) fn thing(number: u64) -> StreamId {
    StreamId::new(format!("thing-{number}")).unwrap()
}

/// One row per thing: how many events it has, where the last one is, and a trail of all of them.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Things;

impl Projection for Things {
    fn name(&self) -> &'static str {
        "things"
    }

    fn pair(&self) -> &'static Pair {
        &THINGS
    }

    fn key(&self, event: &Recorded) -> Option<String> {
        let stream = event.envelope.stream.as_str();
        stream.starts_with("thing-").then(|| stream.to_owned())
    }

    fn fold(&self, row: Option<Row>, event: &Recorded) -> Result<Option<Row>, Poison> {
        let envelope = &event.envelope;
        if envelope.event_type == ERASED {
            return Ok(None);
        }
        let before = row.unwrap_or_default();
        let mut trail = DefaultHasher::new();
        (before.get("trail").and_then(Value::as_str), envelope.id.as_u128()).hash(&mut trail);
        let count = before.get("count").and_then(Value::as_u64).unwrap_or_default();
        let fields: [(&str, Value); 4] = [
            ("id", envelope.stream.as_str().into()),
            ("count", (count + 1).into()),
            ("position", envelope.position.get().into()),
            ("trail", format!("{:016x}", trail.finish()).into()),
        ];
        Ok(Some(fields.into_iter().map(|(name, value)| (name.to_owned(), value)).collect()))
    }
}

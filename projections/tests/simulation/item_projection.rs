//! A minimal read model over item streams that reveals skipped, duplicated and reordered events, and deleted
//! rows. It has two projection versions, as in two successive releases, and can be made to halt for a while.

use std::cell::Cell;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::time::Duration;

use projections::{PoisonEvent, Projection};
use serde_json::Value;
use tokio::time::Instant;

use store::{Column, ColumnKind, Envelope, Row, StoredEvent, StreamId, TableSchema};

static SCHEMA: TableSchema = TableSchema {
    columns: &[
        Column { name: "id", kind: ColumnKind::Text },
        Column { name: "count", kind: ColumnKind::Integer },
        Column { name: "position", kind: ColumnKind::Integer },
        Column { name: "trail", kind: ColumnKind::Text },
    ],
    indexes: &[],
};

static SHAPE_V2: TableSchema = TableSchema {
    columns: &[
        Column { name: "id", kind: ColumnKind::Text },
        Column { name: "count", kind: ColumnKind::Integer },
        Column { name: "position", kind: ColumnKind::Integer },
        Column { name: "trail", kind: ColumnKind::Text },
        Column { name: "actor", kind: ColumnKind::Text },
    ],
    indexes: &[],
};

/// The last event of an item.
pub(crate) const ERASED: &str = "ItemErased";

thread_local! {
    /// Until when no event can be applied. A run has a thread of its own.
    static HALTED_UNTIL: Cell<Option<Instant>> = const { Cell::new(None) };
}

/// Makes every event a poison event for that long, as for a release that does not know its type.
pub(crate) fn halt_for(time: Duration) {
    HALTED_UNTIL.set(Some(Instant::now() + time));
}

/// Ends a halt.
pub(crate) fn resume() {
    HALTED_UNTIL.set(None);
}

pub(crate) fn item_stream(number: u64) -> StreamId {
    StreamId::new(format!("item-{number}")).unwrap()
}

/// One row per item: the number of events, the last position, and a hash chain of all of them.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Items;

impl Projection for Items {
    fn name(&self) -> &'static str {
        "items"
    }

    fn schema(&self) -> &'static TableSchema {
        &SCHEMA
    }

    fn key(&self, event: &Envelope) -> Option<String> {
        let stream = event.stream.as_str();
        stream.starts_with("item-").then(|| stream.to_owned())
    }

    fn fold(&self, row: Option<Row>, event: &StoredEvent) -> Result<Option<Row>, PoisonEvent> {
        let envelope = &event.envelope;
        if HALTED_UNTIL.get().is_some_and(|until| Instant::now() < until) {
            return Err(PoisonEvent::new(event, &"the projection is halted"));
        }
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

/// The next version, whose rows also hold the last actor.
#[derive(Clone, Copy, Debug)]
pub(crate) struct ItemsV2;

impl Projection for ItemsV2 {
    fn name(&self) -> &'static str {
        Items.name()
    }

    fn version(&self) -> u32 {
        Items.version() + 1
    }

    fn schema(&self) -> &'static TableSchema {
        &SHAPE_V2
    }

    fn key(&self, event: &Envelope) -> Option<String> {
        Items.key(event)
    }

    fn fold(&self, row: Option<Row>, event: &StoredEvent) -> Result<Option<Row>, PoisonEvent> {
        let mut row = Items.fold(row, event)?;
        if let Some(row) = &mut row {
            row.insert("actor".to_owned(), event.envelope.actor.as_str().into());
        }
        Ok(row)
    }

    fn previous(&self) -> Option<&'static dyn Projection> {
        Some(&Items)
    }
}

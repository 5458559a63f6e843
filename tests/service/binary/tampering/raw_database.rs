//! Log, head and key store as an attacker with database access sees them: read, changed, and written back
//! directly, on both databases.

use std::collections::BTreeMap;

use aegis::app::Database;
use mongodb::Client;
use mongodb::bson::spec::BinarySubtype;
use mongodb::bson::{Binary, Bson, DateTime, Document, doc};
use rusqlite::{Connection, params};
use serde_json::{Map, Value};
use store::canonical::canonical_event;
use store::key_store::{ClaimHash, KeyEntry};
use store::merkle::{Frontier, leaf_hash};
use store::{Envelope, EventQuery, Head, Position, StreamId};

use crate::support::Store;

#[derive(Clone, Debug)]
pub(in super::super) struct RawDatabase {
    pub(in super::super) events: Vec<Envelope>,
    pub(in super::super) head: Head,
    pub(in super::super) key_entries: BTreeMap<StreamId, (KeyEntry, Vec<ClaimHash>)>,
}

impl RawDatabase {
    pub(in super::super) async fn read(store: &Store) -> Self {
        let log = Database::connect(&store.settings()).await.unwrap().log;
        let all = EventQuery { limit: 1000, ..EventQuery::default() };
        let holders = log.key_entry_streams(None, 1000).await.unwrap();
        let key_entries = log.key_entries_with_claims(&holders).await.unwrap();
        Self {
            events: log.events(&all).await.unwrap(),
            head: log.head().await.unwrap(),
            key_entries: key_entries
                .into_iter()
                .map(|(stream, entry, claims)| (stream, (entry, claims)))
                .collect(),
        }
    }

    /// The event at that position.
    pub(super) fn event(&mut self, position: u64) -> &mut Envelope {
        self.events.iter_mut().find(|event| event.position.get() == position).unwrap()
    }

    /// The stream of the event at that position.
    pub(super) fn stream(&self, position: u64) -> StreamId {
        self.events.iter().find(|event| event.position.get() == position).unwrap().stream.clone()
    }

    /// The key store entry of that stream.
    pub(super) fn key_entry(&mut self, position: u64) -> &mut (KeyEntry, Vec<ClaimHash>) {
        let stream = self.stream(position);
        self.key_entries.get_mut(&stream).unwrap()
    }

    /// Assigns consecutive positions in the order of the list.
    pub(super) fn renumber(&mut self) {
        for (event, position) in self.events.iter_mut().zip(1..) {
            event.position = Position::new(position);
        }
    }

    /// Recomputes the leaves of all events.
    pub(super) fn recompute_leaves(&mut self) {
        for event in &mut self.events {
            event.leaf = leaf_hash(&canonical_event(event).unwrap());
        }
    }

    /// Recomputes the head from the leaves, except for the signature, whose key the attacker lacks.
    pub(super) fn recompute_head(&mut self) {
        let mut frontier = Frontier::default();
        self.events.iter().for_each(|event| frontier.push(event.leaf));
        let last = self.events.last().unwrap();
        let (position, at, note) = (last.position, last.at, self.head.note.clone());
        self.head = Head { position, at, root: frontier.root(), frontier, note };
    }

    /// Replaces the stored data.
    pub(in super::super) async fn write(&self, store: &Store) {
        match store.mongo_address() {
            None => self.write_sqlite(store),
            Some((url, name)) => {
                self.write_mongo(&Client::with_uri_str(url).await.unwrap().database(name)).await;
            }
        }
    }

    fn write_sqlite(&self, store: &Store) {
        let mut connection = connection_without_triggers(store);
        let writing = connection.transaction().unwrap();
        writing.execute_batch("DELETE FROM events; DELETE FROM vault; DELETE FROM claims").unwrap();
        for event in &self.events {
            let insert = "INSERT INTO events (position, id, stream, version, type, schema, at, actor, request_id, data,
                sealed, leaf) VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12)";
            let row = params![
                event.position.to_i64(),
                event.id.hyphenated().to_string(),
                event.stream.as_str(),
                i64::try_from(event.version).unwrap(),
                event.event_type,
                event.schema,
                event.at.as_millisecond(),
                event.actor,
                event.request_id,
                serde_json::to_string(&event.data).unwrap(),
                event.sealed,
                event.leaf,
            ];
            writing.execute(insert, row).unwrap();
        }
        for (stream, (entry, claims)) in &self.key_entries {
            let key = key(entry);
            let insert = "INSERT INTO vault (stream, key, erased) VALUES (?1, ?2, ?3)";
            writing.execute(insert, params![stream.as_str(), key, key.is_none()]).unwrap();
            for claim in claims {
                let insert = "INSERT INTO claims (claim, stream) VALUES (?1, ?2)";
                writing.execute(insert, params![claim.as_bytes(), stream.as_str()]).unwrap();
            }
        }
        let Head { position, at, root, frontier, note } = &self.head;
        let head = params![position.to_i64(), at.as_millisecond(), root, frontier.to_bytes(), note];
        let update = "UPDATE head SET position = ?1, at = ?2, root = ?3, frontier = ?4, note = ?5";
        assert_eq!(writing.execute(update, head).unwrap(), 1);
        writing.commit().unwrap();
    }

    async fn write_mongo(&self, database: &mongodb::Database) {
        let key_documents = self.key_entries.iter().map(|(stream, (entry, claims))| {
            let mut held = doc! { "_id": stream.as_str() };
            match key(entry) {
                Some(key) => held.insert("key", binary(key)),
                None => held.insert("erased", true),
            };
            if !claims.is_empty() {
                let claims: Vec<_> = claims.iter().map(|claim| binary(claim.as_bytes())).collect();
                held.insert("claims", claims);
            }
            held
        });
        let events = self.events.iter().map(document).collect();
        for (name, documents) in [("events", events), ("vault", key_documents.collect::<Vec<_>>())] {
            let collection = database.collection::<Document>(name);
            collection.delete_many(doc! {}).await.unwrap();
            if !documents.is_empty() {
                collection.insert_many(documents).await.unwrap();
            }
        }
        let Head { position, at, root, frontier, note } = &self.head;
        let head = doc! {
            "position": position.to_i64(),
            "at": DateTime::from_millis(at.as_millisecond()),
            "root": binary(root),
            "frontier": binary(&frontier.to_bytes()),
            "note": note,
        };
        let written =
            database.collection::<Document>("head").update_one(doc! {}, doc! { "$set": head }).await;
        assert_eq!(written.unwrap().matched_count, 1);
    }
}

/// A connection that may change events: the triggers prevent mistakes, not attacks.
pub(super) fn connection_without_triggers(store: &Store) -> Connection {
    let connection = Connection::open(store.file()).unwrap();
    for trigger in ["events_are_never_changed", "events_are_never_deleted"] {
        connection.execute_batch(&format!("DROP TRIGGER IF EXISTS {trigger}")).unwrap();
    }
    connection
}

pub(super) fn binary(bytes: &[u8]) -> Binary {
    Binary { subtype: BinarySubtype::Generic, bytes: bytes.to_vec() }
}

fn key(entry: &KeyEntry) -> Option<&[u8]> {
    match entry {
        KeyEntry::Key(key) => Some(key),
        KeyEntry::Erased => None,
    }
}

fn document(event: &Envelope) -> Document {
    let mut stored = doc! {
        "_id": event.position.to_i64(),
        "id": Binary { subtype: BinarySubtype::Uuid, bytes: event.id.as_bytes().to_vec() },
        "stream": event.stream.as_str(),
        "version": i64::try_from(event.version).unwrap(),
        "type": &event.event_type,
        "schema": i32::try_from(event.schema).unwrap(),
        "at": DateTime::from_millis(event.at.as_millisecond()),
        "actor": &event.actor,
        "request_id": &event.request_id,
        "data": object(&event.data),
        "leaf": binary(&event.leaf),
    };
    if let Some(sealed) = &event.sealed {
        stored.insert("sealed", binary(sealed));
    }
    stored
}

fn object(data: &Map<String, Value>) -> Document {
    let field = |(name, value): (&String, &Value)| {
        let value = match value {
            Value::Bool(yes) => Bson::Boolean(*yes),
            Value::Number(number) => Bson::Int64(number.as_i64().unwrap()),
            Value::String(text) => Bson::String(text.clone()),
            Value::Object(inner) => Bson::Document(object(inner)),
            value => panic!("no event of these tests holds {value}"),
        };
        (name.clone(), value)
    };
    data.iter().map(field).collect()
}

//! Reads the users of the FastAPI service that Aegis replaces: the collection `users`, as Beanie writes it. Nothing is
//! written here. The collection may be in the database of the log or in any other, also without a replica set.

use std::time::Duration;

use mongodb::bson::spec::BinarySubtype;
use mongodb::bson::{Bson, Document, RawDocument, RawDocumentBuf, doc};
use mongodb::error::Error;
use mongodb::{Client, Collection, Cursor, Database};
use serde_json::{Map, Value, json};
use store::StoreError;
use uuid::Uuid;

use crate::connection::check_database_name;
use crate::connection_string;
use crate::error::from_driver_error;
use crate::mongo_store::MongoStore;

/// The collection of users.
const USERS: &str = "users";
/// A field that only users of that service have.
const PASSWORD_HASH: &str = "hashed_password";
const APP_NAME: &str = "aegis-import";
const SERVER_SELECTION_TIMEOUT: Duration = Duration::from_secs(5);
const BATCH_SIZE: u32 = 1_000;
const WHAT: &str = "reading the users to import";

/// The users of a legacy service, in the order of their `_id`.
pub struct LegacyUsers {
    cursor: Cursor<RawDocumentBuf>,
    count: u64,
}

/// A user, as MongoDB's relaxed Extended JSON.
#[derive(Clone, Debug)]
pub struct LegacyDocument {
    /// The `_id`, if it can be read.
    pub id: Option<Value>,
    /// `None` if the document cannot be decoded, as with text that is not UTF-8.
    pub fields: Option<Map<String, Value>>,
}

impl LegacyUsers {
    /// Begins to read; `None` if the database has no collection `users`.
    ///
    /// # Errors
    /// [`StoreError`] if the URL or the name is invalid, or the database cannot be read.
    pub async fn open(url: &str, database: &str) -> Result<Option<Self>, StoreError> {
        check_database_name(database)?;
        let mut options = connection_string::parse(url).await?;
        options.app_name.get_or_insert_with(|| APP_NAME.to_owned());
        options.server_selection_timeout.get_or_insert(SERVER_SELECTION_TIMEOUT);
        let database = Client::with_options(options).map_err(failed)?.database(database);
        if !has_users(&database).await? {
            return Ok(None);
        }
        let users: Collection<RawDocumentBuf> = database.collection(USERS);
        let count = users.estimated_document_count().await.map_err(failed)?;
        let fields = doc! {
            "_id": 1, "email": 1, "username": 1, PASSWORD_HASH: 1, "is_active": 1, "created_at": 1, "roles": 1,
        };
        let find = users.find(doc! {}).sort(doc! { "_id": 1 }).projection(fields).batch_size(BATCH_SIZE);
        Ok(Some(Self { cursor: find.await.map_err(failed)?, count }))
    }

    /// The number of users, approximately.
    #[must_use]
    pub fn count(&self) -> u64 {
        self.count
    }

    /// The next users, at most `limit`; none at the end.
    ///
    /// # Errors
    /// [`StoreError`] if they cannot be read.
    pub async fn next_documents(&mut self, limit: usize) -> Result<Vec<LegacyDocument>, StoreError> {
        let mut documents = Vec::new();
        while documents.len() < limit && self.cursor.advance().await.map_err(failed)? {
            documents.push(LegacyDocument::decode(self.cursor.current()));
        }
        Ok(documents)
    }
}

impl LegacyDocument {
    fn decode(raw: &RawDocument) -> Self {
        if let Ok(document) = Document::try_from(raw) {
            let fields: Map<_, _> =
                document.into_iter().map(|(name, value)| (name, to_json(value))).collect();
            return Self { id: fields.get("_id").cloned(), fields: Some(fields) };
        }
        let id = raw.get("_id").ok().flatten().and_then(|id| Bson::try_from(id).ok());
        Self { id: id.map(to_json), fields: None }
    }
}

impl MongoStore {
    /// Whether the database of the log contains users of a legacy service as well.
    ///
    /// # Errors
    /// [`StoreError`] if it cannot be read.
    pub async fn has_legacy_users(&self) -> Result<bool, StoreError> {
        let users = self.connection.work.handle().collection::<Document>(USERS);
        let found = users.find_one(doc! { PASSWORD_HASH: { "$exists": true } }).await;
        found.map(|found| found.is_some()).map_err(failed)
    }
}

async fn has_users(database: &Database) -> Result<bool, StoreError> {
    let names = database.list_collection_names().filter(doc! { "name": USERS }).await;
    names.map(|names| !names.is_empty()).map_err(failed)
}

fn failed(error: Error) -> StoreError {
    from_driver_error(WHAT, error)
}

/// The value in relaxed Extended JSON, for the types that the fields of users have.
fn to_json(value: Bson) -> Value {
    match value {
        Bson::String(text) => text.into(),
        Bson::Boolean(is) => is.into(),
        Bson::Int32(number) => number.into(),
        Bson::Int64(number) => number.into(),
        Bson::Null | Bson::Undefined => Value::Null,
        Bson::ObjectId(id) => json!({ "$oid": id.to_hex() }),
        Bson::DateTime(at) => json!({ "$date": { "$numberLong": at.timestamp_millis().to_string() } }),
        Bson::Binary(binary) if binary.subtype == BinarySubtype::Uuid => {
            match Uuid::from_slice(&binary.bytes) {
                Ok(uuid) => json!({ "$uuid": uuid.hyphenated().to_string() }),
                Err(_) => json!({ "$binary": {} }),
            }
        }
        Bson::Array(values) => values.into_iter().map(to_json).collect(),
        // Nothing that a user's field may be: it is refused by its type.
        _ => json!({ "$unsupported": true }),
    }
}

#[cfg(test)]
mod tests {
    use mongodb::bson::oid::ObjectId;

    use super::*;

    #[test]
    fn undecodable_document_keeps_its_id() {
        let id = ObjectId::parse_str("65a1b2c3d4e5f60718293a4b").unwrap();
        let document = RawDocumentBuf::try_from(&doc! { "_id": id, "username": "ada" }).unwrap();
        let decoded = LegacyDocument::decode(&document);
        assert_eq!(
            (&decoded.fields.unwrap()["username"], &decoded.id),
            (&json!("ada"), &Some(json!({ "$oid": id.to_hex() })))
        );
        let mut bytes = document.into_bytes();
        let name = bytes.windows(3).position(|bytes| bytes == b"ada").unwrap();
        bytes[name] = 0xFF;
        let decoded = LegacyDocument::decode(&RawDocumentBuf::from_bytes(bytes).unwrap());
        assert_eq!((decoded.fields, decoded.id), (None, Some(json!({ "$oid": id.to_hex() }))));
    }
}

//! Converts events and the head to BSON documents and back.

use mongodb::bson::raw::{CStr, cstr};
use mongodb::bson::{RawArrayBuf, RawBson, RawBsonRef, RawDocument, RawDocumentBuf};
use serde_json::{Map, Value};
use store::merkle::Frontier;
use store::{Corruption, Envelope, Head, Position, RefusalReason, StoreError, StreamId};

use crate::document_reader::{DocumentReader, binary, date, integer, uuid};

/// The `_id` of the one document in `head`.
pub(crate) const HEAD_ID: &str = "log";

/// Encodes an event.
pub(crate) fn from_event(event: &Envelope) -> Result<RawDocumentBuf, StoreError> {
    let mut document = RawDocumentBuf::new();
    document.append(cstr!("_id"), event.position.to_i64());
    document.append(cstr!("id"), uuid(event.id));
    document.append(cstr!("stream"), event.stream.as_str());
    document.append(cstr!("version"), Position::new(event.version).to_i64());
    document.append(cstr!("type"), event.event_type.as_str());
    document.append(
        cstr!("schema"),
        i32::try_from(event.schema).map_err(|_| unstorable("a schema version above 2147483647"))?,
    );
    document.append(cstr!("at"), date(event.at));
    document.append(cstr!("actor"), event.actor.as_str());
    document.append(cstr!("request_id"), event.request_id.as_str());
    document.append(cstr!("data"), from_object(&event.data)?);
    if let Some(sealed) = &event.sealed {
        document.append(cstr!("sealed"), binary(sealed));
    }
    document.append(cstr!("leaf"), binary(&event.leaf));
    Ok(document)
}

/// Decodes an event.
pub(crate) fn to_event(document: &RawDocument) -> Result<Envelope, StoreError> {
    let position = match document.get("_id") {
        Ok(Some(id)) => {
            integer(id).map_or_else(|| "an unknown position".to_owned(), |id| format!("position {id}"))
        }
        _ => "an unknown position".to_owned(),
    };
    let name = format!("the event at {position}");
    let fields = DocumentReader::new(document, &name);
    let sealed = match fields.optional("sealed")? {
        Some(_) => Some(fields.bytes("sealed")?.to_vec()),
        None => None,
    };
    Ok(Envelope {
        position: fields.position("_id")?,
        id: fields.uuid("id")?,
        stream: StreamId::new(fields.text("stream")?)
            .map_err(|_| fields.invalid("stream", "a stream name"))?,
        version: fields.number("version")?,
        event_type: fields.text("type")?.to_owned(),
        schema: fields.number("schema")?,
        at: fields.timestamp("at")?,
        actor: fields.text("actor")?.to_owned(),
        request_id: fields.text("request_id")?.to_owned(),
        data: to_object(fields.object("data")?)
            .ok_or_else(|| fields.invalid("data", "an object of JSON values"))?,
        sealed,
        leaf: fields.hash("leaf")?,
    })
}

/// Encodes the head; `touched` counts the transactions that have locked it.
pub(crate) fn from_head(head: &Head, touched: i64) -> RawDocumentBuf {
    let mut document = RawDocumentBuf::new();
    document.append(cstr!("_id"), HEAD_ID);
    document.append(cstr!("position"), head.position.to_i64());
    document.append(cstr!("at"), date(head.at));
    document.append(cstr!("root"), binary(&head.root));
    document.append(cstr!("frontier"), binary(&head.frontier.to_bytes()));
    document.append(cstr!("note"), head.note.as_str());
    document.append(cstr!("touched"), touched);
    document
}

/// Decodes the head and the number of transactions that have locked it.
pub(crate) fn to_head(document: &RawDocument) -> Result<(Head, i64), StoreError> {
    let fields = DocumentReader::new(document, "the head of the log");
    let position = fields.position("position")?;
    let frontier = Frontier::from_bytes(position.get(), fields.bytes("frontier")?);
    let head = Head {
        position,
        at: fields.timestamp("at")?,
        root: fields.hash("root")?,
        frontier: frontier.map_err(|error| Corruption::invalid("the head of the log", error))?,
        note: fields.text("note")?.to_owned(),
    };
    Ok((head, fields.number("touched")?))
}

fn from_object(object: &Map<String, Value>) -> Result<RawDocumentBuf, StoreError> {
    let mut document = RawDocumentBuf::new();
    for (key, value) in object {
        let key: &CStr = key.as_str().try_into().map_err(|_| unstorable("a key with a NUL byte"))?;
        document.append(key, from_value(value)?);
    }
    Ok(document)
}

fn from_value(value: &Value) -> Result<RawBson, StoreError> {
    Ok(match value {
        Value::Null => RawBson::Null,
        Value::Bool(yes) => RawBson::Boolean(*yes),
        Value::Number(number) => RawBson::Int64(
            number.as_i64().ok_or_else(|| unstorable("a number that is not a 64-bit integer"))?,
        ),
        Value::String(text) => RawBson::String(text.clone()),
        Value::Array(list) => {
            let mut array = RawArrayBuf::new();
            for value in list {
                array.push(from_value(value)?);
            }
            RawBson::Array(array)
        }
        Value::Object(object) => RawBson::Document(from_object(object)?),
    })
}

fn unstorable(value: &'static str) -> StoreError {
    RefusalReason::UnstorableValue { value }.into()
}

fn to_object(document: &RawDocument) -> Option<Map<String, Value>> {
    let field = |field: mongodb::bson::error::Result<(&CStr, RawBsonRef<'_>)>| {
        let (key, value) = field.ok()?;
        Some((key.as_str().to_owned(), to_value(value)?))
    };
    document.iter().map(field).collect()
}

fn to_value(value: RawBsonRef<'_>) -> Option<Value> {
    Some(match value {
        RawBsonRef::Null => Value::Null,
        RawBsonRef::Boolean(yes) => Value::Bool(yes),
        RawBsonRef::String(text) => Value::String(text.to_owned()),
        RawBsonRef::Array(list) => {
            Value::Array(list.into_iter().map(|value| to_value(value.ok()?)).collect::<Option<_>>()?)
        }
        RawBsonRef::Document(object) => Value::Object(to_object(object)?),
        number => Value::from(integer(number)?),
    })
}

#[cfg(test)]
mod tests {
    use jiff::Timestamp;
    use mongodb::bson::{Bson, Document, doc};
    use serde_json::json;
    use store::merkle::leaf_hash;
    use uuid::Uuid;

    use super::*;

    fn event(data: Value, sealed: Option<Vec<u8>>) -> Envelope {
        Envelope {
            position: Position::new(7),
            id: Uuid::from_u128(0x0193_e2b4_0000_7000_8000_0000_0000_0001),
            stream: StreamId::new("user-1").unwrap(),
            version: 3,
            event_type: "EmailChanged".to_owned(),
            schema: 1,
            at: Timestamp::from_millisecond(1_700_000_000_123).unwrap(),
            actor: "operator:ada".to_owned(),
            request_id: "r-1".to_owned(),
            data: serde_json::from_value(data).unwrap(),
            sealed,
            leaf: leaf_hash(b"x"),
        }
    }

    fn every_kind() -> Envelope {
        let nested = json!({"a": "text", "b": true, "c": 9_007_199_254_740_991_i64, "d": -1, "e": [1, "two", {"f": []}],
            "g": null, "": "empty key", "$h.i": {}, "\u{fc}": "zero \u{0} byte"});
        event(nested, Some(vec![1, 2, 3]))
    }

    #[test]
    fn events_round_trip() {
        for event in [every_kind(), event(json!({}), None)] {
            assert_eq!(to_event(&from_event(&event).unwrap()).unwrap(), event);
        }
    }

    #[test]
    fn stored_events_have_the_documented_fields_and_types() {
        let stored = Document::try_from(from_event(&event(json!({"n": 1}), None)).unwrap()).unwrap();
        let expected = doc! {
            "_id": 7_i64,
            "id": uuid(Uuid::from_u128(0x0193_e2b4_0000_7000_8000_0000_0000_0001)),
            "stream": "user-1",
            "version": 3_i64,
            "type": "EmailChanged",
            "schema": 1_i32,
            "at": mongodb::bson::DateTime::from_millis(1_700_000_000_123),
            "actor": "operator:ada",
            "request_id": "r-1",
            "data": { "n": 1_i64 },
            "leaf": binary(&leaf_hash(b"x")),
        };
        assert_eq!(stored, expected);
    }

    #[test]
    fn int32_numbers_are_accepted() {
        let mut stored = Document::try_from(from_event(&event(json!({"n": 1}), None)).unwrap()).unwrap();
        stored.insert("_id", 7_i32);
        stored.insert("version", 3_i32);
        stored.insert("data", doc! { "n": 1_i32 });
        let read = to_event(&RawDocumentBuf::try_from(&stored).unwrap()).unwrap();
        assert_eq!(read, event(json!({"n": 1}), None));
    }

    #[test]
    fn corrupt_event_error_names_position_and_field() {
        let whole = Document::try_from(from_event(&every_kind()).unwrap()).unwrap();
        let damage: [(&str, Option<Bson>); 8] = [
            ("leaf", Some(binary(&[1; 31]).into())),
            ("id", Some(binary(&[1; 16]).into())),
            ("stream", Some("No Stream".into())),
            ("version", Some((-1_i64).into())),
            ("sealed", Some("text".into())),
            ("data", Some(doc! { "x": 1.5 }.into())),
            ("schema", Some(i64::MAX.into())),
            ("at", None),
        ];
        for (field, value) in damage {
            let mut broken = whole.clone();
            broken.remove(field);
            broken.extend(value.map(|value| (field.to_owned(), value)));
            let error = to_event(&RawDocumentBuf::try_from(&broken).unwrap()).unwrap_err().to_string();
            assert!(error.contains("at position 7") && error.contains(&format!("`{field}`")), "{error}");
        }
    }

    #[test]
    fn values_bson_cannot_store_are_rejected() {
        for data in [json!({"a\u{0}": 1}), json!({"a": 1.5}), json!({"a": [u64::MAX]})] {
            assert!(matches!(
                from_event(&event(data, None)),
                Err(StoreError::Refused(RefusalReason::UnstorableValue { .. }))
            ));
        }
    }

    #[test]
    fn heads_round_trip() {
        let mut head = Head { note: "signed".to_owned(), ..Head::default() };
        for n in 1..=5 {
            head.frontier.push(leaf_hash(&[n]));
            head.position = head.position.next();
            head.root = head.frontier.root();
        }
        for head in [Head::default(), head] {
            assert_eq!(to_head(&from_head(&head, 9)).unwrap(), (head, 9));
        }
    }
}

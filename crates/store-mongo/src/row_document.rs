//! Converts rows and projection checkpoints to BSON documents and back. The key column is the document's
//! `_id`.

use mongodb::bson::raw::{CStr, cstr};
use mongodb::bson::{DateTime, Document, RawArrayBuf, RawBson, RawBsonRef, RawDocument, RawDocumentBuf, doc};
use serde_json::Value;
use store::{Column, ColumnKind, InternalError, Position, ProjectionCheckpoint, Row, StoreError, Table};

use crate::document_reader::{DocumentReader, integer};

/// Encodes a row, without null columns.
pub(crate) fn from_row(table: &Table, key: &str, row: &Row) -> Result<RawDocumentBuf, StoreError> {
    table.check(row)?;
    let mut document = RawDocumentBuf::new();
    document.append(cstr!("_id"), key);
    for column in table.schema.columns.iter().filter(|column| column.name != table.key()) {
        let Some(value) = row.get(column.name).filter(|value| !value.is_null()) else { continue };
        let mistyped = || {
            let (table, column, kind) = (&table.name, column.name, column.kind);
            InternalError::ColumnType {
                table: table.to_string(),
                column: column.to_owned(),
                expected: format!("{kind:?}"),
            }
        };
        let name: &CStr = column.name.try_into().map_err(|_| mistyped())?;
        document.append(name, from_value(column.kind, value).ok_or_else(mistyped)?);
    }
    Ok(document)
}

/// Decodes a row and its key.
pub(crate) fn to_row(table: &Table, document: &RawDocument) -> Result<(String, Row), StoreError> {
    let name = format!("a row of {}", table.name);
    let key = DocumentReader::new(document, &name).text("_id")?.to_owned();
    let name = format!("the row {key} of {}", table.name);
    let fields = DocumentReader::new(document, &name);
    let mut row = Row::new();
    row.insert(table.key().to_owned(), Value::from(key.as_str()));
    for Column { name, kind } in table.schema.columns.iter().filter(|column| column.name != table.key()) {
        if let Some(value) = fields.optional(name)?.filter(|value| value.as_null().is_none()) {
            let value = to_value(*kind, value).ok_or_else(|| fields.invalid(name, &format!("{kind:?}")))?;
            row.insert((*name).to_owned(), value);
        }
    }
    Ok((key, row))
}

/// The field that stores a column.
pub(crate) fn field_name<'a>(table: &Table, column: &'a str) -> &'a str {
    if column == table.key() { "_id" } else { column }
}

pub(crate) fn row_keys<C: FromIterator<String>>(rows: &[RawDocumentBuf]) -> C {
    rows.iter().filter_map(|row| row.get_str("_id").ok().map(str::to_owned)).collect()
}

/// Encodes a checkpoint.
pub(crate) fn from_checkpoint(table: &str, checkpoint: ProjectionCheckpoint) -> Document {
    let ProjectionCheckpoint { rebuilds, position, digest } = checkpoint;
    let rebuilds = Position::new(rebuilds).to_i64();
    doc! { "_id": table, "position": position.to_i64(), "rebuilds": rebuilds, "digest": digest.to_string() }
}

/// Decodes a checkpoint: table, checkpoint, and whether a reset is still deleting the old rows.
pub(crate) fn to_checkpoint(
    document: &RawDocument,
) -> Result<(String, ProjectionCheckpoint, bool), StoreError> {
    let table = DocumentReader::new(document, "a checkpoint").text("_id")?.to_owned();
    let name = format!("the checkpoint of {table}");
    let fields = DocumentReader::new(document, &name);
    let digest = fields.text("digest")?.parse().map_err(|_| fields.invalid("digest", "a digest"))?;
    let checkpoint = ProjectionCheckpoint {
        rebuilds: fields.number("rebuilds")?,
        position: fields.position("position")?,
        digest,
    };
    let clearing = fields.optional("clearing")?.is_some();
    Ok((table, checkpoint, clearing))
}

fn from_value(kind: ColumnKind, value: &Value) -> Option<RawBson> {
    Some(match kind {
        ColumnKind::Text => RawBson::String(value.as_str()?.to_owned()),
        ColumnKind::Integer => RawBson::Int64(value.as_i64()?),
        ColumnKind::Boolean => RawBson::Boolean(value.as_bool()?),
        ColumnKind::Time => RawBson::DateTime(DateTime::from_millis(value.as_i64()?)),
        ColumnKind::TextList => {
            let texts: Option<Vec<&str>> = value.as_array()?.iter().map(Value::as_str).collect();
            RawBson::Array(texts?.into_iter().collect::<RawArrayBuf>())
        }
    })
}

fn to_value(kind: ColumnKind, value: RawBsonRef<'_>) -> Option<Value> {
    Some(match kind {
        ColumnKind::Text => Value::from(value.as_str()?),
        ColumnKind::Integer => Value::from(integer(value)?),
        ColumnKind::Boolean => Value::from(value.as_bool()?),
        ColumnKind::Time => Value::from(value.as_datetime()?.timestamp_millis()),
        ColumnKind::TextList => {
            let text = |value: RawBsonRef<'_>| value.as_str().map(Value::from);
            Value::Array(value.as_array()?.into_iter().map(|value| text(value.ok()?)).collect::<Option<_>>()?)
        }
    })
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use store::{RowsDigest, TableSchema};

    use super::*;

    static SCHEMA: TableSchema = TableSchema {
        columns: &[
            Column { name: "id", kind: ColumnKind::Text },
            Column { name: "email", kind: ColumnKind::Text },
            Column { name: "position", kind: ColumnKind::Integer },
            Column { name: "is_active", kind: ColumnKind::Boolean },
            Column { name: "created_at", kind: ColumnKind::Time },
            Column { name: "roles", kind: ColumnKind::TextList },
        ],
        indexes: &["email"],
    };

    fn table() -> Table {
        Table::of("users", 1, &SCHEMA)
    }

    fn row(value: Value) -> Row {
        serde_json::from_value(value).unwrap()
    }

    #[test]
    fn rows_round_trip_and_omit_nulls() {
        let full = row(json!({"id": "u1", "email": "a@b", "position": 7, "is_active": true,
            "created_at": 1_700_000_000_123_i64, "roles": ["admin", "auditor"]}));
        let sparse = row(json!({"id": "u1", "email": null, "roles": []}));
        for (given, read) in [(full.clone(), full), (sparse, row(json!({"id": "u1", "roles": []})))] {
            let stored = from_row(&table(), "u1", &given).unwrap();
            assert_eq!(to_row(&table(), &stored).unwrap(), ("u1".to_owned(), read));
        }
    }

    #[test]
    fn rows_use_native_bson_types() {
        let given = row(json!({"id": "u1", "created_at": 5, "position": 7}));
        let stored = Document::try_from(from_row(&table(), "u1", &given).unwrap()).unwrap();
        assert_eq!(stored, doc! { "_id": "u1", "position": 7_i64, "created_at": DateTime::from_millis(5) });
    }

    #[test]
    fn mistyped_values_are_rejected_and_reported() {
        let refused = from_row(&table(), "u1", &row(json!({"is_active": "yes"}))).unwrap_err();
        assert!(refused.to_string().contains("is_active"), "{refused}");
        let stored = RawDocumentBuf::try_from(&doc! { "_id": "u1", "roles": [1] }).unwrap();
        let damaged = to_row(&table(), &stored).unwrap_err().to_string();
        assert!(damaged.contains("row u1 of users_1") && damaged.contains("`roles`"), "{damaged}");
    }

    #[test]
    fn checkpoints_round_trip() {
        let checkpoint = ProjectionCheckpoint {
            position: Position::new(9),
            digest: RowsDigest::default().plus(&row(json!({"id": "u1"}))),
            ..ProjectionCheckpoint::start(2)
        };
        let mut stored = from_checkpoint("users_1", checkpoint);
        let read = |stored: &Document| to_checkpoint(&RawDocumentBuf::try_from(stored).unwrap()).unwrap();
        assert_eq!(read(&stored), ("users_1".to_owned(), checkpoint, false));
        stored.insert("clearing", true);
        assert!(read(&stored).2);
    }
}

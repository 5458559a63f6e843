//! Converts row fields to column values and back. Null and absent are the same: null columns are not
//! returned.

use rusqlite::types::{ToSqlOutput, Value as Stored, ValueRef};
use serde_json::Value;
use store::{Column, ColumnKind, Corruption, InternalError, Row, StoreError, Table};

use crate::columns::unsigned;
use crate::error::SqliteError;

/// Encodes a row in column order.
pub(super) fn to_columns<'a>(
    table: &Table,
    key: &'a str,
    row: &'a Row,
) -> Result<Vec<ToSqlOutput<'a>>, SqliteError> {
    table.check(row)?;
    let value = |column: &Column| match row.get(column.name) {
        _ if column.name == table.key() => Ok(text(key)),
        None | Some(Value::Null) => Ok(ToSqlOutput::Owned(Stored::Null)),
        Some(value) => to_column(column.kind, value).ok_or_else(|| {
            StoreError::from(InternalError::ColumnType {
                table: table.name.to_string(),
                column: column.name.to_owned(),
                expected: format!("{:?}", column.kind),
            })
            .into()
        }),
    };
    table.schema.columns.iter().map(value).collect()
}

/// Decodes a row of a statement that selects all columns.
pub(super) fn from_columns(table: &Table, stored: &rusqlite::Row<'_>) -> Result<Row, SqliteError> {
    let mut row = Row::new();
    for (index, column) in table.schema.columns.iter().enumerate() {
        match stored.get_ref(index)? {
            ValueRef::Null => {}
            value => {
                row.insert(column.name.to_owned(), from_column(column.kind, value)?);
            }
        }
    }
    Ok(row)
}

fn to_column(kind: ColumnKind, value: &Value) -> Option<ToSqlOutput<'_>> {
    match (kind, value) {
        (ColumnKind::Text, Value::String(value)) => Some(text(value)),
        (ColumnKind::Integer | ColumnKind::Time, Value::Number(number)) => number.as_i64().map(integer),
        (ColumnKind::Boolean, Value::Bool(value)) => Some(integer(i64::from(*value))),
        (ColumnKind::TextList, Value::Array(items)) if items.iter().all(Value::is_string) => {
            Some(ToSqlOutput::Owned(Stored::Text(value.to_string())))
        }
        _ => None,
    }
}

fn from_column(kind: ColumnKind, value: ValueRef<'_>) -> Result<Value, SqliteError> {
    Ok(match kind {
        ColumnKind::Text => Value::from(value.as_str()?),
        ColumnKind::Integer | ColumnKind::Time => Value::from(value.as_i64()?),
        ColumnKind::Boolean => Value::from(unsigned(value.as_i64()?, "a boolean")? != 0),
        ColumnKind::TextList => serde_json::from_str(value.as_str()?)
            .map_err(|error| Corruption::invalid("a list of texts", error))?,
    })
}

fn text(text: &str) -> ToSqlOutput<'_> {
    ToSqlOutput::Borrowed(ValueRef::Text(text.as_bytes()))
}

fn integer(number: i64) -> ToSqlOutput<'static> {
    ToSqlOutput::Owned(Stored::Integer(number))
}

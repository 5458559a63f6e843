//! A field of a user before and after, as the command line shows it.

use serde_json::Value;

use crate::query::FieldChange;

/// Both values, or the one there is.
pub(super) fn format_change(change: &FieldChange) -> String {
    let FieldChange { field, from, to } = change;
    match (from, to) {
        (Some(Value::Null), Some(to)) => format!("{field} {}", format_value(to)),
        (Some(from), Some(to)) => format!("{field} {} -> {}", format_value(from), format_value(to)),
        (None, _) | (_, None) => (*field).to_owned(),
    }
}

/// A value as it is in JSON; what was erased, and what is not there, in words.
pub(super) fn format_value(value: &Value) -> String {
    match value {
        Value::Null => "none".to_owned(),
        Value::Object(_) => "(erased)".to_owned(),
        value => value.to_string(),
    }
}

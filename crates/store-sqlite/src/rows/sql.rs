//! SQL for one read-model table. Names come from the source code, never from a request, but are quoted
//! anyway.

use std::ops::Bound;

use store::{Column, ColumnKind, PrefixQuery, Table};

/// The maximum number of rows that [`find`] returns.
const FIND_LIMIT: usize = 100;

/// Creates the table and its indexes if they are missing.
pub(super) fn create(table: &Table) -> String {
    let name = quoted(&table.name);
    let columns: Vec<_> = table
        .schema
        .columns
        .iter()
        .map(|column| {
            let key = if column.name == table.key() { " PRIMARY KEY NOT NULL" } else { "" };
            format!("{} {}{key}", quoted(column.name), column_type(column))
        })
        .collect();
    let indexes = table.schema.indexes.iter().map(|column| {
        let index = quoted(&format!("{}_{column}", table.name));
        format!("CREATE INDEX IF NOT EXISTS {index} ON {name} ({});", quoted(column))
    });
    let create = format!("CREATE TABLE IF NOT EXISTS {name} ({}) STRICT;", columns.join(", "));
    create + &indexes.collect::<String>()
}

/// Upserts a row; the parameters are its columns in order.
pub(super) fn upsert(table: &Table) -> String {
    let parameters: Vec<_> =
        (1..).zip(table.schema.columns).map(|(number, _)| format!("?{number}")).collect();
    let fields = table.schema.columns.iter().filter(|column| column.name != table.key());
    let updates: Vec<_> = fields.map(|column| format!("{0} = excluded.{0}", quoted(column.name))).collect();
    let update =
        if updates.is_empty() { "NOTHING".to_owned() } else { format!("UPDATE SET {}", updates.join(", ")) };
    format!(
        "INSERT INTO {} ({}) VALUES ({}) ON CONFLICT ({}) DO {update}",
        quoted(&table.name),
        columns(table),
        parameters.join(", "),
        quoted(table.key()),
    )
}

/// Deletes the row with the key `?1`.
pub(super) fn remove(table: &Table) -> String {
    format!("DELETE FROM {} WHERE {} = ?1", quoted(&table.name), quoted(table.key()))
}

/// Deletes at most `?1` rows.
pub(super) fn remove_some(table: &Table) -> String {
    let (name, key) = (quoted(&table.name), quoted(table.key()));
    format!("DELETE FROM {name} WHERE {key} IN (SELECT {key} FROM {name} LIMIT ?1)")
}

/// Drops the table.
pub(super) fn drop(table: &Table) -> String {
    format!("DROP TABLE IF EXISTS {}", quoted(&table.name))
}

/// Selects the row with the key `?1`.
pub(super) fn by_key(table: &Table) -> String {
    format!("{} WHERE {} = ?1", select(table), quoted(table.key()))
}

/// Selects the rows whose column equals the text `?1`; `None` if there is no such text column. SQLite would
/// interpret an unknown quoted name as a string literal.
pub(super) fn find(table: &Table, column: &str) -> Option<String> {
    let known =
        table.schema.columns.iter().any(|known| known.name == column && known.kind == ColumnKind::Text);
    let key = quoted(table.key());
    known
        .then(|| format!("{} WHERE {} = ?1 ORDER BY {key} LIMIT {FIND_LIMIT}", select(table), quoted(column)))
}

/// Selects at most `?1` rows.
pub(super) fn first_page(table: &Table) -> String {
    format!("{} ORDER BY {} LIMIT ?1", select(table), quoted(table.key()))
}

/// Selects at most `?1` rows with keys after `?2`.
pub(super) fn page_after(table: &Table) -> String {
    let key = quoted(table.key());
    format!("{} WHERE {key} > ?2 ORDER BY {key} LIMIT ?1", select(table))
}

/// Selects at most `?1` rows of the query, whose bounds are `?2` and `?3`; `None` if there is no such text column.
pub(crate) fn prefix_page(table: &Table, query: &PrefixQuery) -> Option<String> {
    let PrefixQuery { column, .. } = query;
    let mut columns = table.schema.columns.iter();
    columns.find(|known| known.name == *column && known.kind == ColumnKind::Text)?;
    let column = quoted(column);
    let lower = if matches!(query.lower(), Bound::Excluded(_)) { ">" } else { ">=" };
    let upper = if query.upper().is_some() { format!(" AND {column} < ?3") } else { String::new() };
    Some(format!("{} WHERE {column} {lower} ?2{upper} ORDER BY {column} LIMIT ?1", select(table)))
}

fn select(table: &Table) -> String {
    format!("SELECT {} FROM {}", columns(table), quoted(&table.name))
}

fn columns(table: &Table) -> String {
    table.schema.columns.iter().map(|column| quoted(column.name)).collect::<Vec<_>>().join(", ")
}

fn column_type(column: &Column) -> &'static str {
    match column.kind {
        ColumnKind::Text | ColumnKind::TextList => "TEXT",
        ColumnKind::Integer | ColumnKind::Boolean | ColumnKind::Time => "INTEGER",
    }
}

fn quoted(name: &str) -> String {
    format!("\"{}\"", name.replace('"', "\"\""))
}

#[cfg(test)]
mod tests {
    use rusqlite::Connection;
    use store::TableSchema;

    use super::*;

    static THINGS: TableSchema = TableSchema {
        columns: &[
            Column { name: "id", kind: ColumnKind::Text },
            Column { name: "label", kind: ColumnKind::Text },
            Column { name: "count", kind: ColumnKind::Integer },
        ],
        indexes: &["label"],
    };

    #[test]
    fn rows_of_a_prefix_are_read_from_an_index_in_order() {
        let (connection, table) = (Connection::open_in_memory().unwrap(), Table::of("things", 1, &THINGS));
        connection.execute_batch(&create(&table)).unwrap();
        let query = |column, prefix: &str, after: Option<&str>| PrefixQuery {
            column,
            prefix: prefix.to_owned(),
            after: after.map(str::to_owned),
            limit: 10,
        };
        for query in [query("label", "a", None), query("label", "a", Some("ab")), query("label", "", None)] {
            let sql = format!("EXPLAIN QUERY PLAN {}", prefix_page(&table, &query).unwrap());
            let mut statement = connection.prepare(&sql).unwrap();
            let mut plan = Vec::new();
            let mut steps = statement.raw_query();
            while let Some(step) = steps.next().unwrap() {
                plan.push(step.get::<_, String>("detail").unwrap());
            }
            let bounds = if query.prefix.is_empty() { "label>?" } else { "label>? AND label<?" };
            assert_eq!(plan, [format!("SEARCH things_1 USING INDEX things_1_label ({bounds})")], "{query:?}");
        }
        for column in ["count", "unknown", "label\""] {
            assert_eq!(prefix_page(&table, &query(column, "a", None)), None);
        }
    }
}

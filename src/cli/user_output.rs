//! Users and their changes as the CLI prints them: everything except the password hash.

use projections::UserRow;
use serde::Serialize;
use serde_json::Value;
use store::canonical::rfc3339;

use super::error::CliResult;
use super::output::Output;
use super::table::{Table, printable};
use crate::command::UserState;
use crate::query::{FieldChange, UserAt};

const COLUMNS: usize = 7;

/// A user. The order of the fields is that of the printed JSON; the personal fields of an erased user are
/// null.
#[derive(Debug, Serialize)]
pub(super) struct UserOutput {
    id: String,
    email: Option<String>,
    username: Option<String>,
    is_active: bool,
    email_verified: bool,
    roles: Vec<&'static str>,
    created_at: String,
    version: u64,
}

impl From<&UserRow> for UserOutput {
    fn from(row: &UserRow) -> Self {
        Self {
            id: row.id.to_string(),
            email: Some(row.email.as_str().to_owned()),
            username: Some(row.username.as_str().to_owned()),
            is_active: row.is_active,
            email_verified: row.is_email_verified,
            roles: row.roles.iter().map(|role| role.as_str()).collect(),
            created_at: rfc3339(row.created_at),
            version: row.version,
        }
    }
}

impl From<&UserState> for UserOutput {
    fn from(user: &UserState) -> Self {
        let account = &user.account;
        Self {
            id: user.id.to_string(),
            email: account.email.known().map(|email| email.as_str().to_owned()),
            username: account.username.known().map(|username| username.as_str().to_owned()),
            is_active: account.is_active,
            email_verified: account.is_email_verified,
            roles: account.roles.iter().map(|role| role.as_str()).collect(),
            created_at: rfc3339(user.created_at),
            version: user.version,
        }
    }
}

impl From<UserAt> for UserOutput {
    fn from(user: UserAt) -> Self {
        let UserAt {
            id,
            email,
            username,
            is_active,
            email_verified,
            created_at,
            roles,
            version,
            position: _,
        } = user;
        Self { id, email, username, is_active, email_verified, roles, created_at, version }
    }
}

impl UserOutput {
    /// The user as one row of a table.
    pub(super) fn table(json: bool) -> Table<COLUMNS> {
        Table::new("users", ["ID", "CREATED", "ACTIVE", "VERSION", "ROLES", "EMAIL", "USERNAME"], json)
    }

    pub(super) fn row(&self) -> [String; COLUMNS] {
        let personal = |value: &Option<String>| value.clone().unwrap_or_else(|| "(erased)".to_owned());
        [
            self.id.clone(),
            self.created_at.clone(),
            yes_or_no(self.is_active).to_owned(),
            self.version.to_string(),
            self.roles.join(","),
            personal(&self.email),
            personal(&self.username),
        ]
    }

    /// Prints one field per line.
    pub(super) fn print(&self, out: &mut Output) -> CliResult {
        let names: [&str; COLUMNS] =
            ["id", "created_at", "is_active", "version", "roles", "email", "username"];
        let verified = yes_or_no(self.email_verified).to_owned();
        let cells = names.into_iter().zip(self.row()).chain([("email_verified", verified)]);
        for (name, cell) in cells {
            out.line(format!("{name:14} {}", printable(&cell)).trim_end())?;
        }
        Ok(())
    }
}

fn yes_or_no(value: bool) -> &'static str {
    if value { "yes" } else { "no" }
}

/// The old and the new value of a field, or its name alone if one of them is hidden.
pub(super) fn format_change(change: &FieldChange) -> String {
    let FieldChange { field, from, to } = change;
    match (from, to) {
        (Some(Value::Null), Some(to)) => format!("{field} {}", format_value(to)),
        (Some(from), Some(to)) => format!("{field} {} -> {}", format_value(from), format_value(to)),
        (None, _) | (_, None) => (*field).to_owned(),
    }
}

/// The JSON of a value; words for an erased or absent one.
pub(super) fn format_value(value: &Value) -> String {
    match value {
        Value::Null => "none".to_owned(),
        Value::Object(_) => "(erased)".to_owned(),
        value => value.to_string(),
    }
}

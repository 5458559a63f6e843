//! A user as the command line shows them: everything but the password hash.

use projections::UserRow;
use serde::Serialize;
use store::canonical::rfc3339;

use super::error::CliError;
use super::output::Output;
use super::table::{Table, printable};
use crate::query::UserAt;

/// How many things are told of a user.
const CELLS: usize = 7;

/// A user; the order of the fields is that of the JSON that is printed. Of an erased one the personal fields are null.
#[derive(Debug, Serialize)]
pub(super) struct UserOutput {
    id: String,
    email: Option<String>,
    username: Option<String>,
    is_active: bool,
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
            roles: row.roles.iter().map(|role| role.as_str()).collect(),
            created_at: rfc3339(row.created_at),
            version: row.version,
        }
    }
}

impl From<UserAt> for UserOutput {
    fn from(past: UserAt) -> Self {
        let UserAt { id, email, username, is_active, created_at, roles, version, position: _ } = past;
        Self { id, email, username, is_active, roles, created_at, version }
    }
}

impl UserOutput {
    fn cells(&self) -> [String; CELLS] {
        [
            self.id.clone(),
            self.created_at.clone(),
            if self.is_active { "yes" } else { "no" }.to_owned(),
            self.version.to_string(),
            self.roles.join(","),
            shown(self.email.as_ref()),
            shown(self.username.as_ref()),
        ]
    }

    /// Prints the user over several lines.
    pub(super) fn print(&self, out: &mut Output) -> Result<(), CliError> {
        let names: [&str; CELLS] = ["id", "created_at", "is_active", "version", "roles", "email", "username"];
        for (name, cell) in names.iter().zip(self.cells()) {
            out.line(format!("{name:11} {}", printable(&cell)).trim_end())?;
        }
        Ok(())
    }
}

/// Something that everybody has until it is erased.
fn shown(personal: Option<&String>) -> String {
    personal.cloned().unwrap_or_else(|| "(erased)".to_owned())
}

/// Users as they come, one per line.
pub(super) struct UserPrinter {
    json: bool,
    table: Table<CELLS>,
}

impl UserPrinter {
    pub(super) fn new(json: bool) -> Self {
        Self { json, table: Table::new(["ID", "CREATED", "ACTIVE", "VERSION", "ROLES", "EMAIL", "USERNAME"]) }
    }

    /// Takes a user in; JSON is printed at once.
    pub(super) fn add(&mut self, user: &UserOutput, out: &mut Output) -> Result<(), CliError> {
        if self.json {
            return out.json(user);
        }
        self.table.row(user.cells());
        Ok(())
    }

    /// Prints what was taken in.
    pub(super) fn print(&mut self, out: &mut Output) -> Result<(), CliError> {
        self.table.print(out)
    }
}

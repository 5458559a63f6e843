//! Renders users as `aegis users import` reads them.

use std::io;

use domain::{PasswordHash, Role};
use projections::UserRow;
use serde::Serialize;
use store::canonical::rfc3339;

use super::csv_row::csv_row;

/// A user as `aegis users import` reads them, in its order of columns.
#[derive(Serialize)]
pub struct ExportedUser<'a> {
    id: String,
    email: &'a str,
    username: &'a str,
    is_active: bool,
    created_at: String,
    roles: Vec<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    password_hash: Option<&'a str>,
}

const COLUMNS: [&str; 6] = ["id", "email", "username", "is_active", "created_at", "roles"];
const HASH_COLUMN: &str = "password_hash";

/// The first row of the CSV format.
///
/// # Errors
/// If it cannot be rendered.
pub fn csv_header(with_hashes: bool) -> io::Result<String> {
    csv_row(COLUMNS.into_iter().chain(with_hashes.then_some(HASH_COLUMN)))
}

impl<'a> ExportedUser<'a> {
    #[must_use]
    pub fn new(row: &'a UserRow, with_hash: bool) -> Self {
        Self {
            id: row.id.to_string(),
            email: row.email.as_str(),
            username: row.username.as_str(),
            is_active: row.is_active,
            created_at: rfc3339(row.created_at),
            roles: row.roles.iter().copied().map(Role::as_str).collect(),
            password_hash: row.password_hash.as_ref().filter(|_| with_hash).map(PasswordHash::expose),
        }
    }

    /// Values as they are, because they are read back: a spreadsheet may take a name for a formula.
    ///
    /// # Errors
    /// If the row cannot be rendered.
    pub fn csv_row(&self, with_hash: bool) -> io::Result<String> {
        let roles = self.roles.join(",");
        let is_active = if self.is_active { "true" } else { "false" };
        let cells = [&self.id, self.email, self.username, is_active, &self.created_at, &roles];
        let hash = with_hash.then(|| self.password_hash.unwrap_or_default());
        csv_row(cells.into_iter().chain(hash))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_end_as_in_rfc_4180() {
        let header = csv_header(true).unwrap();
        assert_eq!(header, "id,email,username,is_active,created_at,roles,password_hash\r\n");
    }
}

//! A row of `users`, typed.

use std::collections::BTreeSet;

use domain::{EmailAddress, PasswordHash, Role, UserId, Username};
use jiff::Timestamp;
use serde_json::Value;
use store::{Position, Row};

/// What is known of one user.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UserRow {
    /// The user.
    pub id: UserId,
    /// Their e-mail address.
    pub email: EmailAddress,
    /// Their username.
    pub username: Username,
    /// Whether they may log in.
    pub is_active: bool,
    /// When they registered.
    pub created_at: Timestamp,
    /// The roles they hold.
    pub roles: BTreeSet<Role>,
    /// What their password is checked against; `None` if they have none yet.
    pub password_hash: Option<PasswordHash>,
    /// Whether they have proved to receive mail at the address.
    pub is_email_verified: bool,
    /// The version of their stream that the row shows.
    pub version: u64,
    /// Tokens that carry a lower version are void.
    pub tokens_from: u64,
    /// The position of the last event in the row.
    pub position: Position,
}

/// A stored row that is not one of this version's.
#[derive(Debug, thiserror::Error)]
#[error(
    "the row of user {id} cannot be read: field `{field}` is missing or wrong. Rebuild the projection `users`"
)]
pub struct UnreadableRow {
    id: String,
    field: &'static str,
}

impl UserRow {
    /// The row as stored.
    #[must_use]
    pub fn to_row(&self) -> Row {
        let roles: Vec<Value> = self.roles.iter().map(|role| role.as_str().into()).collect();
        let fields: [(&str, Value); 12] = [
            ("id", self.id.to_string().into()),
            ("email", self.email.as_str().into()),
            ("username", self.username.as_str().into()),
            ("is_active", self.is_active.into()),
            ("created_at", self.created_at.as_millisecond().into()),
            ("roles", roles.into()),
            ("email_key", self.email.key().into()),
            ("username_key", self.username.key().into()),
            ("email_verified", self.is_email_verified.into()),
            ("version", self.version.into()),
            ("tokens_from", self.tokens_from.into()),
            ("position", self.position.get().into()),
        ];
        let password_hash = self.password_hash.as_ref().map(|hash| ("password_hash", hash.expose().into()));
        fields.into_iter().chain(password_hash).map(|(name, value)| (name.to_owned(), value)).collect()
    }

    /// A stored row.
    ///
    /// # Errors
    /// [`UnreadableRow`] if a field is missing or of another kind.
    pub fn from_row(row: &Row) -> Result<Self, UnreadableRow> {
        let fields = Fields(row);
        Ok(Self {
            id: fields.parse("id", |text| UserId::parse(text).ok())?,
            email: fields.parse("email", |text| Some(EmailAddress::from_stored(text)))?,
            username: fields.parse("username", |text| Some(Username::from_stored(text)))?,
            is_active: fields.get("is_active", Value::as_bool)?,
            created_at: fields
                .get("created_at", |value| Timestamp::from_millisecond(value.as_i64()?).ok())?,
            roles: fields.get("roles", roles)?,
            password_hash: fields.optional("password_hash", PasswordHash::from_stored)?,
            // Rows of the previous version have no such column.
            is_email_verified: row.get("email_verified").and_then(Value::as_bool).unwrap_or_default(),
            version: fields.get("version", Value::as_u64)?,
            tokens_from: fields.get("tokens_from", Value::as_u64)?,
            position: fields.get("position", Value::as_u64).map(Position::new)?,
        })
    }
}

fn roles(value: &Value) -> Option<BTreeSet<Role>> {
    value.as_array()?.iter().map(|role| role.as_str()?.parse().ok()).collect()
}

struct Fields<'a>(&'a Row);

impl Fields<'_> {
    fn get<T>(
        &self,
        field: &'static str,
        read: impl FnOnce(&Value) -> Option<T>,
    ) -> Result<T, UnreadableRow> {
        self.0.get(field).and_then(read).ok_or_else(|| UnreadableRow {
            id: self.0.get("id").and_then(Value::as_str).unwrap_or("?").to_owned(),
            field,
        })
    }

    fn optional<T>(
        &self,
        field: &'static str,
        parse: impl FnOnce(&str) -> T,
    ) -> Result<Option<T>, UnreadableRow> {
        if self.0.get(field).is_none_or(Value::is_null) {
            return Ok(None);
        }
        self.parse(field, |text| Some(Some(parse(text))))
    }

    fn parse<T>(
        &self,
        field: &'static str,
        parse: impl FnOnce(&str) -> Option<T>,
    ) -> Result<T, UnreadableRow> {
        self.get(field, |value| parse(value.as_str()?))
    }
}

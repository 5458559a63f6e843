//! What an import reports about a record: why it was refused, or what was changed.

use std::fmt;

use domain::{EmailError, UserId, Username, UsernameError};

use super::origin::RecordOrigin;
use crate::crypto::UnsupportedHash;

/// A record that was not imported as it is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Notice {
    pub origin: RecordOrigin,
    /// As in the record, if it has one.
    pub email: Option<String>,
    pub reason: NoticeReason,
}

/// Why a record was refused, or how the user differs from it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum NoticeReason {
    NotAnObject,
    LineTooLong,
    NotUtf8,
    /// A document of the database is damaged.
    NotDecodable,
    CellCount {
        cells: usize,
        columns: usize,
    },
    /// A field is missing, or has another type.
    Field {
        field: &'static str,
        expected: &'static str,
    },
    InvalidEmail(EmailError),
    InvalidUsername(UsernameError),
    UnknownRole,
    /// The password hash is missing or cannot be verified.
    PasswordHash(HashProblem),
    /// An earlier record of the source is about the same user.
    Repeated,
    EmailTaken(Option<UserId>),
    UsernameTaken,
    Erased,
    /// Imported without the password, whose hash cannot be used.
    WithoutPassword(HashProblem),
    /// Imported under another username.
    Renamed(Username),
}

/// Why a user cannot log in with the password of the other system.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum HashProblem {
    Missing,
    Unsupported(UnsupportedHash),
}

impl NoticeReason {
    /// Whether the user is not imported.
    #[must_use]
    pub fn is_refusal(&self) -> bool {
        !matches!(self, Self::WithoutPassword(_) | Self::Renamed(_))
    }

    /// The reason for programs.
    #[must_use]
    pub fn code(&self) -> &'static str {
        match self {
            Self::NotAnObject
            | Self::LineTooLong
            | Self::NotUtf8
            | Self::NotDecodable
            | Self::CellCount { .. } => "malformed_record",
            Self::Field { .. } => "invalid_field",
            Self::InvalidEmail(_) => "invalid_email",
            Self::InvalidUsername(_) => "invalid_username",
            Self::UnknownRole => "unknown_role",
            Self::PasswordHash(_) => "unusable_password_hash",
            Self::Repeated => "repeated",
            Self::EmailTaken(_) => "email_taken",
            Self::UsernameTaken => "username_taken",
            Self::Erased => "erased",
            Self::WithoutPassword(_) => "without_password",
            Self::Renamed(_) => "renamed",
        }
    }
}

impl fmt::Display for HashProblem {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Missing => out.write_str("it has no password hash"),
            Self::Unsupported(error) => error.fmt(out),
        }
    }
}

/// Without personal data, so that it may be logged.
impl fmt::Display for NoticeReason {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NotAnObject => out.write_str("it is not a JSON object in UTF-8"),
            Self::LineTooLong => out.write_str("the line is too long"),
            Self::NotUtf8 => out.write_str("it is not UTF-8"),
            Self::NotDecodable => out.write_str("it is not valid BSON"),
            Self::CellCount { cells, columns } => {
                write!(out, "it has {cells} cells, the first line {columns}")
            }
            Self::Field { field, expected } => write!(out, "`{field}` is not {expected}"),
            Self::InvalidEmail(_) => out.write_str("`email` is not a valid e-mail address"),
            Self::InvalidUsername(error) => write!(out, "`username` cannot be kept: {error}"),
            Self::UnknownRole => out.write_str("`roles` contains an unknown role"),
            Self::PasswordHash(problem) => {
                write!(out, "{problem}; --without-password imports the user, who then has to set a password")
            }
            Self::Repeated => out.write_str("an earlier record is about the same user"),
            Self::EmailTaken(None) => out.write_str("an earlier record has the e-mail address"),
            Self::EmailTaken(Some(id)) => write!(out, "user {id} has the e-mail address"),
            Self::UsernameTaken => out.write_str("the username is taken, and so are its numbered forms"),
            Self::Erased => out.write_str("the user with this id was erased, which is permanent"),
            Self::WithoutPassword(problem) => write!(out, "imported without a password: {problem}"),
            Self::Renamed(_) => out.write_str("imported with a number after the username, which is taken"),
        }
    }
}

impl Notice {
    /// The reason with the values that it is about.
    #[must_use]
    pub fn detail(&self) -> String {
        match &self.reason {
            NoticeReason::InvalidEmail(error) => format!("`email` is not a valid e-mail address: {error}"),
            NoticeReason::Renamed(username) => {
                format!("imported as `{}`: the username is taken", username.as_str())
            }
            other => other.to_string(),
        }
    }
}

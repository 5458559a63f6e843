//! Interprets the driver's errors: transient, conflict, unknown commit, refused.

use std::borrow::Cow;
use std::sync::Arc;

use mongodb::bson::{Bson, Document};
use mongodb::error::{
    Error, ErrorKind, TRANSIENT_TRANSACTION_ERROR, UNKNOWN_TRANSACTION_COMMIT_RESULT, WriteFailure,
};
use store::{Corruption, RefusalReason, StoreError};

/// Server error codes (`src/mongo/base/error_codes.yml` of MongoDB).
mod code {
    pub(super) const UNAUTHORIZED: i32 = 13;
    pub(super) const AUTHENTICATION_FAILED: i32 = 18;
    pub(super) const LOCK_TIMEOUT: i32 = 24;
    pub(super) const NAMESPACE_EXISTS: i32 = 48;
    pub(super) const INVALID_NAMESPACE: i32 = 73;
    pub(super) const INDEX_OPTIONS_CONFLICT: i32 = 85;
    pub(super) const INDEX_KEY_SPECS_CONFLICT: i32 = 86;
    pub(super) const WRITE_CONFLICT: i32 = 112;
    /// The name of the database differs from that of an existing one in case only.
    pub(super) const DATABASE_DIFFERENT_CASE: i32 = 13_297;
    pub(super) const DUPLICATE_KEY: i32 = 11_000;
    pub(super) const INTERRUPTED: i32 = 11_601;
}

/// A failed database operation.
pub(crate) enum MongoError {
    /// An error of the driver or the server.
    Driver(Error),
    /// A unique index rejected a write: index and collection, since every collection has an index `_id_`.
    DuplicateKey(String),
    /// Stored data or the request is invalid.
    Store(StoreError),
}

impl From<Error> for MongoError {
    fn from(error: Error) -> Self {
        match duplicate(&error) {
            Some(index) => Self::DuplicateKey(index),
            None => Self::Driver(error),
        }
    }
}

impl From<Corruption> for MongoError {
    fn from(corruption: Corruption) -> Self {
        Self::Store(corruption.into())
    }
}

impl From<StoreError> for MongoError {
    fn from(error: StoreError) -> Self {
        Self::Store(error)
    }
}

impl MongoError {
    /// Whether a retry of the transaction may succeed. A server selection timeout is not retried: the caller
    /// has waited long enough.
    pub(crate) fn is_transient(&self) -> bool {
        match self {
            Self::Driver(error) => {
                (error.contains_label(TRANSIENT_TRANSACTION_ERROR) || self.is_interrupted())
                    && !matches!(*error.kind, ErrorKind::ServerSelection { .. })
            }
            Self::DuplicateKey(_) => true,
            Self::Store(_) => false,
        }
    }

    /// Whether the transaction lost against a concurrent one.
    pub(crate) fn is_conflict(&self) -> bool {
        matches!(self, Self::Driver(error) if matches!(server_code(error), Some(code::LOCK_TIMEOUT | code::WRITE_CONFLICT)))
    }

    /// Whether a commit with this error may have happened and can be retried.
    pub(crate) fn is_unknown_commit(&self) -> bool {
        matches!(self, Self::Driver(error) if error.contains_label(UNKNOWN_TRANSACTION_COMMIT_RESULT))
            || self.is_interrupted()
    }

    /// Whether the session was killed during a command, as `abandoned_transactions` does. The server gives
    /// this error no label.
    fn is_interrupted(&self) -> bool {
        matches!(self, Self::Driver(error) if server_code(error) == Some(code::INTERRUPTED))
    }

    /// Whether the collection to be created already exists.
    pub(crate) fn is_existing_collection(&self) -> bool {
        matches!(self, Self::Driver(error) if server_code(error) == Some(code::NAMESPACE_EXISTS))
    }

    /// Error and labels, for traces.
    pub(crate) fn describe(&self) -> String {
        match self {
            Self::Driver(error) => {
                let mut labels: Vec<_> = error.labels().iter().map(String::as_str).collect();
                labels.sort_unstable();
                format!("{} [{}]", error.kind, labels.join(", "))
            }
            Self::DuplicateKey(index) => format!("the unique index {index} rejected a write"),
            Self::Store(error) => error.to_string(),
        }
    }

    /// Converts to the error of the port; `what` is the operation that failed.
    pub(crate) fn into_store_error(self, what: &str) -> StoreError {
        match self {
            Self::Driver(error) => from_driver_error(what, error),
            Self::DuplicateKey(index) => {
                Corruption::UniqueIndexViolation { context: what.to_owned(), index }.into()
            }
            Self::Store(error) => error,
        }
    }
}

/// Converts a driver error. The message contains the error kind only, not the server's whole answer.
pub(crate) fn from_driver_error(what: &str, error: Error) -> StoreError {
    if is_permanent(&error) {
        RefusalReason::Rejected { operation: what.to_owned(), reason: error.kind.to_string() }.into()
    } else {
        let what = format!("{what}: {}", without_topology(&error.kind.to_string()));
        StoreError::Unavailable { what, source: Some(Arc::new(error)) }
    }
}

/// The driver's message without its dump of all servers and their states; what the first server failed with stays.
fn without_topology(message: &str) -> Cow<'_, str> {
    let Some((summary, topology)) = message.split_once(" Topology: ") else { return message.into() };
    match topology.split_once(", Error: ").and_then(|(_, rest)| rest.split(" }").next()) {
        Some(error) => format!("{summary} ({error})").into(),
        None => summary.into(),
    }
}

/// For `map_err`: adds the operation that failed.
pub(crate) fn context(what: &'static str) -> impl Fn(Error) -> StoreError {
    move |error| from_driver_error(what, error)
}

/// Checks the statements of a write command, which can fail although the command itself succeeded.
pub(crate) fn check_write_errors(what: &str, answer: &Document) -> Result<(), MongoError> {
    let Some(first) = write_errors(answer).next() else { return Ok(()) };
    if is_duplicate(first) {
        return Err(MongoError::DuplicateKey(index_name(first.get_str("errmsg").unwrap_or_default())));
    }
    Err(failed_write(what, first).into())
}

/// As [`check_write_errors`], for writes that a unique index may reject.
pub(crate) fn check_write_errors_except_duplicates(what: &str, answer: &Document) -> Result<(), StoreError> {
    let unconfirmed = answer.get_document("writeConcernError").ok();
    let failed = write_errors(answer).find(|error| !is_duplicate(error)).or(unconfirmed);
    failed.map_or(Ok(()), |error| Err(failed_write(what, error)))
}

fn write_errors(answer: &Document) -> impl Iterator<Item = &Document> {
    answer.get_array("writeErrors").into_iter().flatten().filter_map(Bson::as_document)
}

fn is_duplicate(error: &Document) -> bool {
    error.get_i32("code").is_ok_and(|number| number == code::DUPLICATE_KEY)
}

fn failed_write(what: &str, error: &Document) -> StoreError {
    let message = error.get_str("errmsg").unwrap_or("no message");
    StoreError::Unavailable { what: format!("{what}: {message}"), source: None }
}

fn is_permanent(error: &Error) -> bool {
    let by_server = matches!(
        server_code(error),
        Some(
            code::UNAUTHORIZED
                | code::AUTHENTICATION_FAILED
                | code::INVALID_NAMESPACE
                | code::DATABASE_DIFFERENT_CASE
                | code::INDEX_OPTIONS_CONFLICT
                | code::INDEX_KEY_SPECS_CONFLICT
        )
    );
    by_server
        || matches!(
            *error.kind,
            ErrorKind::Authentication { .. }
                | ErrorKind::IncompatibleServer { .. }
                | ErrorKind::InvalidTlsConfig { .. }
                | ErrorKind::SessionsNotSupported
        )
}

fn server_code(error: &Error) -> Option<i32> {
    server_error(error).map(|(code, _)| code)
}

/// Code and message of a server error.
fn server_error(error: &Error) -> Option<(i32, &str)> {
    match &*error.kind {
        ErrorKind::Command(command) => Some((command.code, &command.message)),
        ErrorKind::Write(WriteFailure::WriteError(write)) => Some((write.code, &write.message)),
        ErrorKind::InsertMany(insert) => {
            let first = insert.write_errors.as_ref()?.first()?;
            Some((first.code, &first.message))
        }
        _ => None,
    }
}

/// The unique index that rejected a write.
fn duplicate(error: &Error) -> Option<String> {
    let (code, message) = server_error(error)?;
    (code == code::DUPLICATE_KEY).then(|| index_name(message))
}

/// Index and collection from the server's message: `E11000 duplicate key error collection: aegis.events
/// index: _id_ dup key: …`. Omits the key, which may be personal.
fn index_name(message: &str) -> String {
    let after = |name: &str| message.split_once(name)?.1.split_whitespace().next();
    match (after("index: "), after("collection: ")) {
        (Some(index), Some(collection)) => format!("`{index}` of {collection}"),
        _ => "(unknown)".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn topology_is_reduced_to_the_first_error() {
        let message = "Server selection timeout: No available servers. Topology: { Type: Unknown, Servers: [ { Address: \
                       127.0.0.1:1, Type: Unknown, Error: Connection refused (os error 111) }, ] }";
        assert_eq!(
            without_topology(message),
            "Server selection timeout: No available servers. (Connection refused (os error 111))"
        );
        assert_eq!(without_topology("another message"), "another message");
    }

    #[test]
    fn duplicate_key_error_names_the_index_not_the_key() {
        let message = "E11000 duplicate key error collection: aegis.vault index: claims_1 dup key: { claims: \"secret\" }";
        assert_eq!(index_name(message), "`claims_1` of aegis.vault");
        assert_eq!(index_name("E11000 something else"), "(unknown)");
    }
}

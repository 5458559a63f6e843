//! What the driver's errors mean here.

use std::sync::Arc;

use mongodb::bson::{Document, RawDocument};
use mongodb::error::{
    Error, ErrorKind, TRANSIENT_TRANSACTION_ERROR, UNKNOWN_TRANSACTION_COMMIT_RESULT, WriteFailure,
};
use store::StoreError;

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
    pub(super) const DUPLICATE_KEY: i32 = 11_000;
}

/// Why a piece of work on the database failed.
pub(crate) enum Failure {
    /// The driver or the server says so.
    Driver(Error),
    /// A unique index did not let a write through: the key pattern of that index.
    Duplicate(String),
    /// What is stored, or asked, makes no sense.
    Store(StoreError),
}

impl From<Error> for Failure {
    fn from(error: Error) -> Self {
        match duplicate(&error) {
            Some(index) => Self::Duplicate(index),
            None => Self::Driver(error),
        }
    }
}

impl From<StoreError> for Failure {
    fn from(error: StoreError) -> Self {
        Self::Store(error)
    }
}

impl Failure {
    /// Whether the same transaction, begun anew, may succeed. A server that could not be found within the selection
    /// timeout is not looked for again: the caller has waited long enough.
    pub(crate) fn is_transient(&self) -> bool {
        match self {
            Self::Driver(error) => {
                error.contains_label(TRANSIENT_TRANSACTION_ERROR)
                    && !matches!(*error.kind, ErrorKind::ServerSelection { .. })
            }
            Self::Duplicate(_) => true,
            Self::Store(_) => false,
        }
    }

    /// Whether another transaction was in the way.
    pub(crate) fn is_conflict(&self) -> bool {
        matches!(self, Self::Driver(error) if matches!(server_code(error), Some(code::LOCK_TIMEOUT | code::WRITE_CONFLICT)))
    }

    /// Whether a commit that ended like this may have happened.
    pub(crate) fn is_unknown_commit(&self) -> bool {
        matches!(self, Self::Driver(error) if error.contains_label(UNKNOWN_TRANSACTION_COMMIT_RESULT))
    }

    /// Whether a collection that was to be created is there already.
    pub(crate) fn is_existing_collection(&self) -> bool {
        matches!(self, Self::Driver(error) if server_code(error) == Some(code::NAMESPACE_EXISTS))
    }

    /// What to trace.
    pub(crate) fn describe(&self) -> String {
        match self {
            Self::Driver(error) => {
                let mut labels: Vec<_> = error.labels().iter().map(String::as_str).collect();
                labels.sort_unstable();
                format!("{} [{}]", error.kind, labels.join(", "))
            }
            Self::Duplicate(index) => format!("the unique index {index} refused a write"),
            Self::Store(error) => error.to_string(),
        }
    }

    /// The failure to do `what`, for those above.
    pub(crate) fn into_store(self, what: &str) -> StoreError {
        match self {
            Self::Driver(error) => from_driver(what, error),
            Self::Duplicate(index) => StoreError::corrupt(format!(
                "{what}: the unique index {index} holds an entry that should not be there; was the database written \
                 to by something else?"
            )),
            Self::Store(error) => error,
        }
    }
}

/// The driver's failure to do `what`. Its message is that of the kind alone, without the server's whole answer.
pub(crate) fn from_driver(what: &str, error: Error) -> StoreError {
    let what = format!("{what}: {}", error.kind);
    if is_refusal(&error) {
        StoreError::Refused(what)
    } else {
        StoreError::Unavailable { what, source: Some(Arc::new(error)) }
    }
}

/// Turns a driver's error into the failure to do `what`.
pub(crate) fn cannot(what: &'static str) -> impl Fn(Error) -> StoreError {
    move |error| from_driver(what, error)
}

/// The first error among the statements of a write command that as a whole went through.
pub(crate) fn check_statements(what: &str, answer: &Document) -> Result<(), Failure> {
    let Some(first) = answer.get_array("writeErrors").ok().and_then(|errors| errors.first()?.as_document())
    else {
        return Ok(());
    };
    if first.get_i32("code").is_ok_and(|number| number == code::DUPLICATE_KEY) {
        let pattern = first.get_document("keyPattern").map(ToString::to_string);
        return Err(Failure::Duplicate(pattern.unwrap_or_else(|_| "(not named)".to_owned())));
    }
    let message = first.get_str("errmsg").unwrap_or("no reason given");
    Err(StoreError::Unavailable { what: format!("{what}: {message}"), source: None }.into())
}

fn is_refusal(error: &Error) -> bool {
    let by_server = matches!(
        server_code(error),
        Some(
            code::UNAUTHORIZED
                | code::AUTHENTICATION_FAILED
                | code::INVALID_NAMESPACE
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
    match &*error.kind {
        ErrorKind::Command(command) => Some(command.code),
        ErrorKind::Write(WriteFailure::WriteError(write)) => Some(write.code),
        ErrorKind::InsertMany(insert) => insert.write_errors.as_ref()?.first().map(|error| error.code),
        _ => None,
    }
}

/// The key pattern of the unique index that refused a write, as the server names it.
fn duplicate(error: &Error) -> Option<String> {
    if server_code(error) != Some(code::DUPLICATE_KEY) {
        return None;
    }
    let pattern = error.server_response().and_then(|answer| key_pattern(answer));
    Some(pattern.unwrap_or_else(|| "(not named)".to_owned()))
}

fn key_pattern(answer: &RawDocument) -> Option<String> {
    let named =
        |error: &RawDocument| error.get_document("keyPattern").ok().map(|pattern| format!("{pattern:?}"));
    let first = || answer.get_array("writeErrors").ok()?.into_iter().next()?.ok()?.as_document();
    named(answer).or_else(|| first().and_then(named))
}

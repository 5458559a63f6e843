//! Errors of the store: one enum for what can go wrong between the store and its database, with typed
//! reasons, and one for conditional writes.

mod corruption;
mod missing_key;
mod refusal;

use std::error::Error;
use std::sync::Arc;

use crate::event::{InvalidStream, StreamId};
use crate::key_store::UnwrapError;

pub use corruption::Corruption;
pub use missing_key::{KeyOwner, MissingKey};
pub use refusal::RefusalReason;

/// A failure of the store. Cheap to clone, since one failed commit fails every append in its batch.
#[derive(Clone, Debug, thiserror::Error)]
pub enum StoreError {
    /// The database cannot be reached, or cannot do its work at present. Trying again later may help.
    #[error("the database is unavailable: {what}")]
    Unavailable {
        /// The operation that failed, and why.
        what: String,
        /// The driver's own error.
        #[source]
        source: Option<Arc<dyn Error + Send + Sync>>,
    },
    /// What is stored is not what this version of Aegis could have stored. Trying again will not help.
    #[error("the stored data is corrupt: {0} [{code}]", code = .0.code())]
    Corrupt(Corruption),
    /// A master key (KEK) that wraps stored keys was not given to this process. The data may be intact.
    #[error(transparent)]
    KeyMissing(#[from] MissingKey),
    /// The database, a key or the operation is not one that this version may use. Trying again will not help.
    #[error(transparent)]
    Refused(#[from] RefusalReason),
    /// A bug of Aegis: the caller, or this crate, broke its own rules. The stored data is intact.
    #[error("internal error, please report it: {0}")]
    Internal(#[from] InternalError),
}

impl StoreError {
    /// The database failed at the operation `what`.
    pub fn unavailable(what: impl Into<String>, source: impl Error + Send + Sync + 'static) -> Self {
        let source: Arc<dyn Error + Send + Sync> = Arc::new(source);
        Self::Unavailable { what: format!("{}: {source}", what.into()), source: Some(source) }
    }

    /// A table or collection that this process uses was dropped.
    #[must_use]
    pub fn table_dropped(name: &str) -> Self {
        Corruption::TableDropped { table: name.to_owned() }.into()
    }

    /// A projection version was removed while a caller was about to use its table.
    #[must_use]
    pub fn table_removed(name: &str) -> Self {
        Self::Unavailable {
            what: format!(
                "table `{name}` was removed in the meantime: the projection's versions have changed"
            ),
            source: None,
        }
    }

    /// The wrapped key of `owner` could not be unwrapped.
    pub(crate) fn key_unavailable(owner: KeyOwner, error: UnwrapError) -> Self {
        match error {
            UnwrapError::UnknownMasterKey(master) => MissingKey::MasterKey { owner, master }.into(),
            UnwrapError::Undecryptable(_) => Corruption::KeyUndecryptable { owner }.into(),
        }
    }

    /// Whether trying again later may help.
    #[must_use]
    pub fn is_transient(&self) -> bool {
        matches!(self, Self::Unavailable { .. })
    }
}

impl From<Corruption> for StoreError {
    fn from(corruption: Corruption) -> Self {
        Self::Corrupt(corruption)
    }
}

impl StreamId {
    /// The stream of a name that Aegis itself has built, such as from a kind and a UUID.
    ///
    /// # Errors
    /// [`StoreError::Internal`] if the name is malformed.
    pub fn from_trusted(name: impl Into<String>) -> Result<Self, StoreError> {
        Self::new(name).map_err(|error| InternalError::StreamName(error).into())
    }
}

/// A bug of Aegis, as opposed to [`Corruption`].
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum InternalError {
    /// A stream name that Aegis built itself is malformed.
    #[error(transparent)]
    StreamName(#[from] InvalidStream),
    /// The cipher rejected a key or plaintext of valid size.
    #[error("{what} could not be encrypted")]
    Encryption {
        /// What was to be encrypted.
        what: String,
    },
    /// A projection produced a field that its table does not declare.
    #[error(
        "table `{table}` has no column for the field `{field}`: the projection and the schema of its table \
         disagree. No event is lost; a version of Aegis that fixes it resumes the projection"
    )]
    UndeclaredField {
        /// The table.
        table: String,
        /// The field.
        field: String,
    },
    /// A projection produced a value of another type than its column.
    #[error("a value for `{table}.{column}` is not {expected}")]
    ColumnType {
        /// The table.
        table: String,
        /// The column.
        column: String,
        /// The declared type.
        expected: String,
    },
    /// A value could not be encoded for storage.
    #[error("{what} could not be encoded: {reason}")]
    Encoding {
        /// The value.
        what: String,
        /// The encoder's message.
        reason: String,
    },
}

impl InternalError {
    /// A value could not be encoded.
    #[expect(
        clippy::needless_pass_by_value,
        reason = "callers map an error into this one and have no more use for it"
    )]
    pub fn encoding(what: impl Into<String>, reason: impl ToString) -> Self {
        Self::Encoding { what: what.into(), reason: reason.to_string() }
    }
}

/// Why a conditional write (compare-and-set, optimistic concurrency) was not done.
#[derive(Clone, Debug, thiserror::Error)]
pub enum WriteError {
    /// The stored value is not the expected one: another writer was first. Nothing was written. Read again
    /// and retry, or leave the work to the other writer.
    #[error("write conflict: another writer changed the stored value first")]
    Conflict,
    /// The database could not do it. Whether it was written may be unknown: read again to find out.
    #[error(transparent)]
    Store(#[from] StoreError),
}

//! What can go wrong between the store and its database.

use std::error::Error;
use std::fmt::Display;
use std::sync::Arc;

use crate::key_store::UnwrapError;

/// A failure of the store, cheap to clone, since one failed commit answers every append in it.
#[derive(Clone, Debug, thiserror::Error)]
pub enum StoreError {
    /// The database cannot be reached, or cannot do its work at present. Trying again later may help.
    #[error("the database is unavailable: {what}")]
    Unavailable {
        /// What was tried and what came of it.
        what: String,
        /// The driver's own error.
        #[source]
        source: Option<Arc<dyn Error + Send + Sync>>,
    },
    /// What is stored is not what this version of Aegis could have stored. Trying again will not help.
    #[error("the stored data is damaged: {0}")]
    Corrupt(String),
    /// What is stored may be well, but the master key that it takes was not given to this process. It helps to give it.
    #[error("{0}")]
    KeyMissing(String),
    /// The database, or a key, is not one that this service may use. Trying again will not help.
    #[error("{0}")]
    Refused(String),
}

impl StoreError {
    /// The database failed to do `what`.
    pub fn unavailable(what: impl Into<String>, source: impl Error + Send + Sync + 'static) -> Self {
        let source: Arc<dyn Error + Send + Sync> = Arc::new(source);
        Self::Unavailable { what: format!("{}: {source}", what.into()), source: Some(source) }
    }

    /// The stored data contradicts itself.
    pub fn corrupt(what: impl Into<String>) -> Self {
        Self::Corrupt(what.into())
    }

    /// The wrapped key of `whose` was not opened.
    pub(crate) fn key_unavailable(whose: impl Display, why: UnwrapError) -> Self {
        let what = format!("{whose} {why}");
        match why {
            UnwrapError::Missing(_) => Self::KeyMissing(what),
            UnwrapError::Changed(_) => Self::Corrupt(what),
        }
    }

    /// A table or collection that this process relies on is gone.
    #[must_use]
    pub fn table_dropped(name: &str) -> Self {
        Self::Corrupt(format!(
            "`{name}` was dropped while the service was using it. Restart the service: a read model is then filled anew \
             from the log; what belongs to the log itself has to come from a backup"
        ))
    }

    /// A table was removed while somebody was about to use it.
    #[must_use]
    pub fn table_removed(name: &str) -> Self {
        Self::Unavailable {
            what: format!("`{name}` was removed meanwhile; which versions there are has changed"),
            source: None,
        }
    }

    /// Whether trying again later may help.
    #[must_use]
    pub fn is_transient(&self) -> bool {
        matches!(self, Self::Unavailable { .. })
    }
}

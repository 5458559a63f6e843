//! Why instructions could not be counted.

use std::path::PathBuf;

use store::{AppendError, StoreError};

#[derive(Debug, thiserror::Error)]
pub(crate) enum HotPathError {
    #[error("{0} cannot be run: {1}. Debian has it in the package of the same name")]
    MissingProgram(&'static str, std::io::Error),
    #[error("valgrind failed: {0}")]
    Valgrind(String),
    #[error("{0}: {1}")]
    File(PathBuf, std::io::Error),
    #[error("{0}: {1}")]
    Json(PathBuf, serde_json::Error),
    #[error(transparent)]
    Store(#[from] StoreError),
    #[error(transparent)]
    Append(#[from] AppendError),
    #[error("the path failed: {0}")]
    Path(String),
}

impl HotPathError {
    #[expect(clippy::needless_pass_by_value, reason = "used as `map_err(HotPathError::path)`")]
    pub(crate) fn path(why: impl ToString) -> Self {
        Self::Path(why.to_string())
    }
}

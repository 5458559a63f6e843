//! Exports of the log, or of a range of it, to a file for offline audits. [`mod@format`] renders an event,
//! [`writer`] reads and renders ranges, [`partial`] is the resumable file while it is written, [`manifest`]
//! describes the finished file, and [`verify`] verifies it offline against a signed checkpoint.
//!
//! [`users`] renders users instead of events, for another system.
//!
//! Which personal values may be disclosed is the matter of [`crate::cloud_event`].

mod csv_row;
pub mod format;
pub mod manifest;
pub mod partial;
pub mod users;
pub mod verify;
pub mod writer;

use std::path::PathBuf;

use store::StoreError;
use store::tiles::ProofError;

/// Why an export was not written or not verified.
#[derive(Debug, thiserror::Error)]
pub enum ExportError {
    #[error("{}: {source}. What was written is retained; run the command again to resume", path.display())]
    File { path: PathBuf, source: std::io::Error },
    /// The request conflicts with existing files or with the manifest; what to do about it.
    #[error("{0}")]
    Refused(String),
    #[error(transparent)]
    Store(#[from] StoreError),
    #[error(transparent)]
    Proof(#[from] ProofError),
}

impl ExportError {
    /// Adds the path to an I/O error.
    pub(crate) fn file(path: impl Into<PathBuf>) -> impl FnOnce(std::io::Error) -> Self {
        let path = path.into();
        move |source| Self::File { path, source }
    }
}

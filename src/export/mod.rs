//! The log, or a stretch of it, in a file: for whoever examines it elsewhere. [`format`] says how an event looks in it,
//! [`writer`] reads and renders, [`partial`] is the file while it is being written, which a kill does not undo, [`manifest`]
//! tells what is in it, and [`verify`] proves, without any database, that it is what was signed.
//!
//! What does not belong here: what may be shown of an event ([`crate::cloud_event`]).

pub mod format;
pub mod manifest;
pub mod partial;
pub mod verify;
pub mod writer;

use std::path::PathBuf;

use store::StoreError;
use store::tiles::ProofError;

/// Why an export was not made, or could not be proved.
#[derive(Debug, thiserror::Error)]
pub enum ExportError {
    /// A file could not be read or written.
    #[error("{}: {source}. What was written stays; run it again to go on", path.display())]
    File {
        /// Which.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
    /// It makes no sense as things are; what, and what to do.
    #[error("{0}")]
    Refused(String),
    /// The log could not be read.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The log could not be proved.
    #[error(transparent)]
    Proof(#[from] ProofError),
}

impl ExportError {
    /// What the system said of a file.
    pub(crate) fn file(path: impl Into<PathBuf>) -> impl FnOnce(std::io::Error) -> Self {
        let path = path.into();
        move |source| Self::File { path, source }
    }
}

/// Bytes as people write them down.
#[must_use]
pub fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::new(), |text, byte| text + &format!("{byte:02x}"))
}

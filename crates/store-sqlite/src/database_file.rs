//! The database file: created with mode 0600, and verified to be the same file before every use.

use std::fmt;
use std::fs::{self, Metadata, OpenOptions};
use std::io::{self, ErrorKind};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use store::{RefusalReason, StoreError};

/// How long to wait for the write lock of another process. Shorter than callers wait for their appends, so
/// that they learn that nothing was written.
pub(crate) const BUSY_TIMEOUT: Duration = Duration::from_secs(5);
/// Held while a file is created. Closing a file releases every POSIX lock (fcntl) that the process holds on
/// it, also those of SQLite in another store of this process, so no store may be opened at the same time.
static CREATE_LOCK: Mutex<()> = Mutex::new(());

/// A database file and its identity.
#[derive(Debug)]
pub(crate) struct DatabaseFile {
    path: PathBuf,
    device: u64,
    inode: u64,
}

impl DatabaseFile {
    /// Finds the file or creates an empty one.
    pub(crate) fn open(path: &Path) -> Result<Self, StoreError> {
        let shown = path.display();
        create_if_missing(path).map_err(|error| match error.kind() {
            ErrorKind::NotFound => RefusalReason::FolderMissing { file: shown.to_string() }.into(),
            ErrorKind::PermissionDenied => {
                RefusalReason::FolderNotWritable { file: shown.to_string() }.into()
            }
            _ => StoreError::unavailable(format!("{shown} cannot be created"), error),
        })?;
        let cannot_be_opened = |error| StoreError::unavailable(format!("{shown} cannot be opened"), error);
        let path = fs::canonicalize(path).map_err(cannot_be_opened)?;
        let found = fs::metadata(&path).map_err(cannot_be_opened)?;
        if found.is_dir() {
            return Err(RefusalReason::IsFolder { file: shown.to_string() }.into());
        }
        if !found.is_file() {
            return Err(RefusalReason::NotRegularFile { file: shown.to_string() }.into());
        }
        if found.mode() & 0o077 != 0 {
            tracing::warn!(file = %shown, "other users can read the database file; run `chmod 600` on it");
        }
        Ok(Self { path, device: found.dev(), inode: found.ino() })
    }

    /// The canonical path.
    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// Checks that the path still leads to the opened file. SQLite would continue writing to a deleted file
    /// and lose every event when the process ends.
    pub(crate) fn check_not_replaced(&self) -> Result<(), StoreError> {
        let same = |found: &Metadata| (found.dev(), found.ino()) == (self.device, self.inode);
        match fs::metadata(&self.path) {
            Ok(found) if same(&found) => Ok(()),
            Ok(_) => Err(not_in_place(&format!("{self} was replaced by another file while it was in use"))),
            Err(error) if error.kind() == ErrorKind::NotFound => {
                Err(not_in_place(&format!("{self} was moved or deleted while it was in use")))
            }
            Err(error) => Err(StoreError::unavailable(format!("{self} cannot be checked"), error)),
        }
    }
}

impl fmt::Display for DatabaseFile {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.path.display().fmt(out)
    }
}

fn create_if_missing(path: &Path) -> io::Result<()> {
    let _making = CREATE_LOCK.lock().unwrap_or_else(PoisonError::into_inner);
    match OpenOptions::new().write(true).create_new(true).mode(0o600).open(path) {
        Err(error) if error.kind() != ErrorKind::AlreadyExists => Err(error),
        Ok(_) | Err(_) => Ok(()),
    }
}

fn not_in_place(what: &str) -> StoreError {
    let what = format!(
        "{what}. Nothing was written. Move it back, or restart Aegis to use the file that is there now"
    );
    StoreError::Unavailable { what, source: None }
}

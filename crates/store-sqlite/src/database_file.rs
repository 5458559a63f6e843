//! The database file itself: made for its owner alone, and still the same file whenever it is used.

use std::fmt;
use std::fs::{self, Metadata, OpenOptions};
use std::io::{self, ErrorKind};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use store::StoreError;

/// How long to wait for another process that writes.
pub(crate) const BUSY_TIMEOUT: Duration = Duration::from_secs(5);
/// Held while a file is made. Closing a file gives up every lock that the process has on it (POSIX, fcntl), also those
/// that SQLite took through another store of this process; so none may be opened in between.
static CREATE_LOCK: Mutex<()> = Mutex::new(());

/// A database file, and which one it is.
#[derive(Debug)]
pub(crate) struct DatabaseFile {
    path: PathBuf,
    device: u64,
    inode: u64,
}

impl DatabaseFile {
    /// Finds the file, making an empty one if there is none.
    pub(crate) fn open(path: &Path) -> Result<Self, StoreError> {
        let shown = path.display();
        create_if_missing(path).map_err(|error| match error.kind() {
            ErrorKind::NotFound => refused(format!("{shown} cannot be made: its folder does not exist. Make it first")),
            ErrorKind::PermissionDenied => refused(format!(
                "{shown} cannot be made: this process may not write to its folder. Give it to the user who runs Aegis"
            )),
            _ => StoreError::unavailable(format!("{shown} cannot be made"), error),
        })?;
        let cannot_be_opened = |error| StoreError::unavailable(format!("{shown} cannot be opened"), error);
        let path = fs::canonicalize(path).map_err(cannot_be_opened)?;
        let found = fs::metadata(&path).map_err(cannot_be_opened)?;
        if found.is_dir() {
            return Err(refused(format!("{shown} is a folder: name a file in it as the database")));
        }
        if !found.is_file() {
            return Err(refused(format!("{shown} is no ordinary file: it cannot be the database")));
        }
        if found.mode() & 0o077 != 0 {
            tracing::warn!(file = %shown, "other users of this machine may read the database: `chmod 600` it");
        }
        Ok(Self { path, device: found.dev(), inode: found.ino() })
    }

    /// Where it is, by its full name.
    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// Looks whether the file is still there. SQLite would go on writing to a deleted file, and lose every event when
    /// the process ends.
    pub(crate) fn check_not_replaced(&self) -> Result<(), StoreError> {
        let same = |found: &Metadata| (found.dev(), found.ino()) == (self.device, self.inode);
        match fs::metadata(&self.path) {
            Ok(found) if same(&found) => Ok(()),
            Ok(_) => Err(not_in_place(&format!("{self} was replaced by another file while it was in use"))),
            Err(error) if error.kind() == ErrorKind::NotFound => {
                Err(not_in_place(&format!("{self} was moved or deleted while it was in use")))
            }
            Err(error) => Err(StoreError::unavailable(format!("{self} cannot be looked at"), error)),
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

fn refused(what: String) -> StoreError {
    StoreError::Refused(what)
}

fn not_in_place(what: &str) -> StoreError {
    let what = format!(
        "{what}. Nothing was written. Put it back where it was, or restart Aegis to use what is there"
    );
    StoreError::Unavailable { what, source: None }
}

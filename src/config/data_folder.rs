//! The data folder of the embedded database, and the keys that are made in it. A key is never replaced, but
//! for a master key by a rotation: whatever exists is used as it is, and none is made beside a database that was made with another.

use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{self, ErrorKind, Write};
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use base64::prelude::{BASE64_STANDARD, Engine};
use store::Env;
use zeroize::Zeroizing;

use super::parse::check_secret;
use super::settings::Secret;
use crate::app::DATABASE_FILE;

/// Signs access tokens.
pub(super) const SECRET_KEY_FILE: &str = "secret.key";
/// Wraps all stored keys.
pub(super) const MASTER_KEY_FILE: &str = "master.key";

/// Why the data folder cannot be used: one sentence or two, for the operator.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct DataFolderError(String);

/// The data folder.
pub(super) struct DataFolder {
    pub(super) path: PathBuf,
    /// What the operator should know.
    pub(super) warnings: Vec<String>,
}

impl DataFolder {
    /// The folder in which a service has made a database before.
    pub(super) fn existing(path: &Path) -> Result<Self, DataFolderError> {
        let folder = Self::at(path);
        if folder.has_database()? {
            return Ok(folder);
        }
        Err(DataFolderError(format!(
            "no database at {}; start the service once, or set AEGIS_DATA_DIR",
            path.join(DATABASE_FILE).display()
        )))
    }

    /// The folder of a service that is about to start: made, for its owner alone, if there is none.
    pub(super) fn for_service(path: &Path) -> Result<Self, DataFolderError> {
        let made = DirBuilder::new().recursive(true).mode(0o700).create(path);
        made.map_err(|error| cannot("make", path, &error))?;
        Ok(Self::at(path))
    }

    /// Locks the folder while keys are looked for and made, so that of two processes that start at once one makes them
    /// and the other finds them. The lock falls with the process.
    pub(super) fn lock(&self) -> Result<File, DataFolderError> {
        let lock = || {
            let folder = File::open(&self.path)?;
            folder.lock()?;
            Ok(folder)
        };
        lock().map_err(|error| cannot("lock", &self.path, &error))
    }

    /// The folder at that path, whatever is in it.
    pub(super) fn at(path: &Path) -> Self {
        Self { path: path.to_owned(), warnings: Vec::new() }
    }

    /// Whether there is a database already.
    pub(super) fn has_database(&self) -> Result<bool, DataFolderError> {
        let database = self.path.join(DATABASE_FILE);
        database.try_exists().map_err(|error| cannot("look at", &database, &error))
    }

    /// The master key of the database here is gone.
    pub(super) fn master_key_missing(&self) -> DataFolderError {
        DataFolderError(format!(
            "{} exists, but its master key does not: {} is missing and AEGIS_MASTER_KEY is not set. Without that very \
             key no personal data in the database can be read, so no new one was made. Restore the file from a backup, \
             or set AEGIS_MASTER_KEY; to begin anew, move the whole folder away",
            self.path.join(DATABASE_FILE).display(),
            self.path.join(MASTER_KEY_FILE).display(),
        ))
    }

    /// The key of access tokens kept here, or a new one.
    pub(super) fn secret_key_or_new(&mut self, env: &Env) -> Result<Secret, DataFolderError> {
        if let Some((text, file)) = self.read(SECRET_KEY_FILE)? {
            check_secret(&text).map_err(|problem| damaged(&file, &problem))?;
            return Ok(Secret::new(text.to_string()));
        }
        let bytes = Zeroizing::new(env.bytes::<32>());
        let text = Zeroizing::new(BASE64_STANDARD.encode(bytes.as_slice()));
        self.write(SECRET_KEY_FILE, &text)?;
        Ok(Secret::new(text.to_string()))
    }

    pub(super) fn read(
        &mut self,
        name: &str,
    ) -> Result<Option<(Zeroizing<String>, PathBuf)>, DataFolderError> {
        let file = self.path.join(name);
        let text = match fs::read_to_string(&file) {
            Ok(text) => Zeroizing::new(text),
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(cannot("read", &file, &error)),
        };
        if fs::metadata(&file).is_ok_and(|found| found.mode() & 0o077 != 0) {
            let shown = file.display();
            self.warnings
                .push(format!("{shown} may be read by other users of this machine: `chmod 600 {shown}`"));
        }
        Ok(Some((Zeroizing::new(text.trim().to_owned()), file)))
    }

    /// Writes a key whole or not at all, and on the disk before anything is made with it.
    pub(super) fn write(&self, name: &str, key: &str) -> Result<(), DataFolderError> {
        let (file, draft) = (self.path.join(name), self.path.join(format!(".{name}.new")));
        let write = || -> io::Result<()> {
            // A draft that a crash left behind may have any mode and any content.
            match fs::remove_file(&draft) {
                Err(error) if error.kind() != ErrorKind::NotFound => return Err(error),
                Ok(()) | Err(_) => {}
            }
            let mut out = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&draft)?;
            out.write_all(key.as_bytes())?;
            out.write_all(b"\n")?;
            out.sync_all()?;
            fs::rename(&draft, &file)?;
            File::open(&self.path)?.sync_all()
        };
        write().map_err(|error| cannot("write", &file, &error))
    }
}

pub(super) fn cannot(act: &str, path: &Path, error: &io::Error) -> DataFolderError {
    DataFolderError(format!(
        "cannot {act} {}: {error}. Give it to the user who runs Aegis, or set AEGIS_DATA_DIR",
        path.display()
    ))
}

pub(super) fn damaged(file: &Path, problem: &str) -> DataFolderError {
    DataFolderError(format!("{} holds no usable key, it {problem}. Restore it from a backup", file.display()))
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    fn mode(path: &Path) -> u32 {
        fs::metadata(path).unwrap().mode() & 0o777
    }

    fn folder(path: &Path) -> DataFolder {
        DataFolder::for_service(path).unwrap()
    }

    #[test]
    fn generated_keys_are_stable_and_private() {
        let parent = tempfile::tempdir().unwrap();
        let path = parent.path().join("a/b");
        let env = Env::system();
        let master = folder(&path).master_keys_or_new(Vec::new(), &env).unwrap();
        let secret = folder(&path).secret_key_or_new(&env).unwrap();
        assert_eq!(
            (mode(&path), mode(&path.join("master.key")), mode(&path.join("secret.key"))),
            (0o700, 0o600, 0o600)
        );
        assert_eq!(
            folder(&path).master_keys_or_new(Vec::new(), &env).unwrap().keys().current(),
            master.keys().current()
        );
        assert!(folder(&path).secret_key_or_new(&env).unwrap() == secret);
        assert_eq!(fs::read_dir(&path).unwrap().count(), 2, "no draft is left behind");
    }

    #[test]
    fn no_master_key_is_generated_for_an_existing_database() {
        let parent = tempfile::tempdir().unwrap();
        fs::write(parent.path().join("aegis.db"), "").unwrap();
        let refused =
            folder(parent.path()).master_keys_or_new(Vec::new(), &Env::system()).unwrap_err().to_string();
        assert!(refused.contains("master.key is missing"), "{refused}");
        assert!(!parent.path().join("master.key").exists());
    }

    #[test]
    fn invalid_key_file_is_rejected_and_not_replaced() {
        let parent = tempfile::tempdir().unwrap();
        for name in ["master.key", "secret.key"] {
            fs::write(parent.path().join(name), "short\n").unwrap();
        }
        let env = Env::system();
        let master = folder(parent.path()).master_keys_or_new(Vec::new(), &env).unwrap_err().to_string();
        let secret = folder(parent.path()).secret_key_or_new(&env).map(drop).unwrap_err().to_string();
        assert!(master.contains("not 32 bytes") && secret.contains("has 5 bytes"), "{master} {secret}");
        assert!(!master.contains("short") && !secret.contains("short"));
        assert_eq!(fs::read_to_string(parent.path().join("master.key")).unwrap(), "short\n");
    }

    #[test]
    fn key_file_readable_by_others_causes_a_warning() {
        let parent = tempfile::tempdir().unwrap();
        let env = Env::system();
        folder(parent.path()).master_keys_or_new(Vec::new(), &env).unwrap();
        let file = parent.path().join("master.key");
        fs::set_permissions(&file, fs::Permissions::from_mode(0o644)).unwrap();
        let mut again = folder(parent.path());
        again.master_keys(Vec::new()).unwrap();
        assert!(again.warnings[0].contains("chmod 600"), "{:?}", again.warnings);
    }

    #[test]
    fn leftover_temporary_file_is_replaced() {
        let parent = tempfile::tempdir().unwrap();
        fs::write(parent.path().join(".master.key.new"), "half a k").unwrap();
        let env = Env::system();
        let made = folder(parent.path()).master_keys_or_new(Vec::new(), &env).unwrap();
        assert_eq!(
            folder(parent.path()).master_keys(Vec::new()).unwrap().unwrap().keys().current(),
            made.keys().current()
        );
        assert_eq!(mode(&parent.path().join("master.key")), 0o600);
    }

    #[test]
    fn concurrent_starts_share_one_key() {
        let parent = tempfile::tempdir().unwrap();
        let start = || {
            let mut folder = folder(parent.path());
            let _lock = folder.lock().unwrap();
            folder.master_keys_or_new(Vec::new(), &Env::system()).unwrap().keys().current()
        };
        let ids: Vec<_> = std::thread::scope(|scope| {
            let threads: Vec<_> = (0..8).map(|_| scope.spawn(start)).collect();
            threads.into_iter().map(|thread| thread.join().unwrap()).collect()
        });
        assert!(ids.iter().all(|id| *id == ids[0]), "{ids:?}");
    }

    #[test]
    fn commands_need_an_existing_database() {
        let parent = tempfile::tempdir().unwrap();
        let missing = DataFolder::existing(&parent.path().join("none")).map(drop).unwrap_err().to_string();
        assert!(
            missing.contains("no database at") && missing.contains("start the service once"),
            "{missing}"
        );
        assert!(!parent.path().join("none").exists());
    }
}

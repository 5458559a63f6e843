//! The data directory of the embedded database and the keys that are generated in it. A key file is never
//! overwritten, except `master.key` by a rotation, and no master key is generated beside a database, which
//! was encrypted with another.

use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{self, ErrorKind, Read, Write};
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use base64::prelude::{BASE64_STANDARD, Engine};
use store::Env;
use zeroize::Zeroizing;

use super::parse;
use super::settings::Secret;

/// The file of the embedded database.
pub const DATABASE_FILE: &str = "aegis.db";
/// The directory of mails, where there is no relay.
pub(super) const OUTBOX: &str = "outbox";
/// Signs access tokens.
pub(super) const SECRET_KEY_FILE: &str = "secret.key";
/// Wraps all stored keys.
pub(super) const MASTER_KEY_FILE: &str = "master.key";

/// What every SQLite database begins with.
const SQLITE_HEADER: &[u8] = b"SQLite format 3\0";

/// Why the data directory cannot be used.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum DataFolderError {
    #[error("no database at {}: start `aegis serve` once to create it, or set AEGIS_DATA_DIR", .0.display())]
    NoDatabase(PathBuf),
    #[error(
        "the master key of {} is missing: {} does not exist and AEGIS_MASTER_KEY is not set. Without this \
         key no personal data in the database can be read, so no other key was generated. Restore the file \
         from a backup or set AEGIS_MASTER_KEY; to start with an empty database, move the whole directory \
         away",
        database.display(),
        key_file.display()
    )]
    MasterKeyMissing { database: PathBuf, key_file: PathBuf },
    #[error(
        "{} is not a SQLite database: it was not created by Aegis, or it is damaged. Restore it from a backup, or \
         set AEGIS_DATA_DIR to another directory",
        .0.display()
    )]
    NotADatabase(PathBuf),
    #[error("{} contains no valid key, it {problem}. Restore it from a backup", file.display())]
    InvalidKey { file: PathBuf, problem: String },
    #[error(
        "cannot {action} {}: {reason}. Give the user who runs Aegis access to it, or set AEGIS_DATA_DIR",
        path.display()
    )]
    Io { action: &'static str, path: PathBuf, reason: String },
}

impl DataFolderError {
    pub(super) fn io(action: &'static str, path: &Path, error: &io::Error) -> Self {
        Self::Io { action, path: path.to_owned(), reason: error.to_string() }
    }
}

pub(super) struct DataFolder {
    pub(super) path: PathBuf,
    /// To be logged once logging has started.
    pub(super) warnings: Vec<String>,
}

impl DataFolder {
    pub(super) fn new(path: &Path) -> Self {
        Self { path: path.to_owned(), warnings: Vec::new() }
    }

    /// The directory of an existing database.
    pub(super) fn existing(path: &Path) -> Result<Self, DataFolderError> {
        let folder = Self::new(path);
        if folder.contains(DATABASE_FILE)? {
            Ok(folder)
        } else {
            Err(DataFolderError::NoDatabase(path.join(DATABASE_FILE)))
        }
    }

    /// The directory of a service that starts; created, accessible to its owner only, if it does not exist.
    pub(super) fn create(path: &Path) -> Result<Self, DataFolderError> {
        let created = DirBuilder::new().recursive(true).mode(0o700).create(path);
        created.map_err(|error| DataFolderError::io("create", path, &error))?;
        Ok(Self::new(path))
    }

    /// Locks the directory while keys are read and generated: of two processes that start at the same time
    /// one generates them and the other reads them. The lock is released when the file is closed, at the
    /// latest by the end of the process.
    pub(super) fn lock(&self) -> Result<File, DataFolderError> {
        let lock = || {
            let folder = File::open(&self.path)?;
            folder.lock()?;
            Ok(folder)
        };
        lock().map_err(|error| DataFolderError::io("lock", &self.path, &error))
    }

    pub(super) fn contains(&self, name: &str) -> Result<bool, DataFolderError> {
        let path = self.path.join(name);
        path.try_exists().map_err(|error| DataFolderError::io("access", &path, &error))
    }

    /// Checks that the file of the database, if there is one, is a database: otherwise a missing key is not what is
    /// wrong. An empty file is an empty database.
    pub(super) fn check_database(&self) -> Result<(), DataFolderError> {
        let path = self.path.join(DATABASE_FILE);
        let mut header = Vec::new();
        let read = File::open(&path).and_then(|file| {
            let length = u64::try_from(SQLITE_HEADER.len()).unwrap_or(u64::MAX);
            file.take(length).read_to_end(&mut header)
        });
        // Opening the database reports a file that cannot be read.
        let is_other = read.is_ok_and(|length| length > 0) && header != SQLITE_HEADER;
        if is_other { Err(DataFolderError::NotADatabase(path)) } else { Ok(()) }
    }

    pub(super) fn load_or_generate_secret_key(&mut self, env: &Env) -> Result<Secret, DataFolderError> {
        if let Some((text, file)) = self.read(SECRET_KEY_FILE)? {
            return parse::secret_key(&text).map_err(|problem| DataFolderError::InvalidKey { file, problem });
        }
        let bytes = Zeroizing::new(env.bytes::<32>());
        let text = Zeroizing::new(BASE64_STANDARD.encode(bytes.as_slice()));
        self.write(SECRET_KEY_FILE, &text)?;
        Ok(Secret::new(text.to_string()))
    }

    /// The content of a key file and its path; `None` if it does not exist.
    pub(super) fn read(
        &mut self,
        name: &str,
    ) -> Result<Option<(Zeroizing<String>, PathBuf)>, DataFolderError> {
        let file = self.path.join(name);
        let text = match fs::read_to_string(&file) {
            Ok(text) => Zeroizing::new(text),
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(DataFolderError::io("read", &file, &error)),
        };
        if fs::metadata(&file).is_ok_and(|found| found.mode() & 0o077 != 0) {
            let path = file.display();
            self.warnings
                .push(format!("key file {path} is accessible to other users: run `chmod 600 {path}`"));
        }
        Ok(Some((Zeroizing::new(text.trim().to_owned()), file)))
    }

    /// Writes a key file atomically and durably, before anything is encrypted with the key.
    pub(super) fn write(&self, name: &str, key: &str) -> Result<(), DataFolderError> {
        let (file, temporary) = (self.path.join(name), self.path.join(format!(".{name}.new")));
        let write = || -> io::Result<()> {
            // A temporary file that a crash left behind may have any mode and any content.
            match fs::remove_file(&temporary) {
                Err(error) if error.kind() != ErrorKind::NotFound => return Err(error),
                Ok(()) | Err(_) => {}
            }
            let mut out = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&temporary)?;
            out.write_all(key.as_bytes())?;
            out.write_all(b"\n")?;
            out.sync_all()?;
            fs::rename(&temporary, &file)?;
            File::open(&self.path)?.sync_all()
        };
        write().map_err(|error| DataFolderError::io("write", &file, &error))
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use store::key_store::KeyId;

    use super::*;

    fn mode(path: &Path) -> u32 {
        fs::metadata(path).unwrap().mode() & 0o777
    }

    fn folder(path: &Path) -> DataFolder {
        DataFolder::create(path).unwrap()
    }

    /// The id of the master key of a service that starts.
    fn started(path: &Path) -> Result<KeyId, DataFolderError> {
        let keys = folder(path).load_or_generate_master_keys(Vec::new(), &Env::system())?;
        Ok(keys.keys().current())
    }

    #[test]
    fn generated_keys_are_stable_and_private() {
        let parent = tempfile::tempdir().unwrap();
        let path = parent.path().join("a/b");
        let env = Env::system();
        let master = started(&path).unwrap();
        let secret = folder(&path).load_or_generate_secret_key(&env).unwrap();
        assert_eq!(
            (mode(&path), mode(&path.join("master.key")), mode(&path.join("secret.key"))),
            (0o700, 0o600, 0o600)
        );
        assert_eq!(started(&path).unwrap(), master);
        assert!(folder(&path).load_or_generate_secret_key(&env).unwrap() == secret);
        assert_eq!(fs::read_dir(&path).unwrap().count(), 2, "no temporary file is left behind");
    }

    #[test]
    fn no_master_key_is_generated_for_an_existing_database() {
        let parent = tempfile::tempdir().unwrap();
        fs::write(parent.path().join("aegis.db"), "").unwrap();
        let error = started(parent.path()).unwrap_err();
        assert!(matches!(error, DataFolderError::MasterKeyMissing { .. }), "{error}");
        assert!(!parent.path().join("master.key").exists());
    }

    #[test]
    fn file_that_is_no_database_is_not_reported_as_a_missing_key() {
        let parent = tempfile::tempdir().unwrap();
        let folder = folder(parent.path());
        folder.check_database().unwrap();
        for (content, is_database) in
            [("", true), ("SQLite format 3\0…", true), ("hello", false), ("x\n", false)]
        {
            fs::write(parent.path().join("aegis.db"), content).unwrap();
            let not_a_database = DataFolderError::NotADatabase(parent.path().join("aegis.db"));
            let expected = if is_database { Ok(()) } else { Err(not_a_database) };
            assert_eq!(folder.check_database(), expected, "{content}");
        }
    }

    #[test]
    fn invalid_key_file_is_rejected_and_not_replaced() {
        let parent = tempfile::tempdir().unwrap();
        for name in ["master.key", "secret.key"] {
            fs::write(parent.path().join(name), "short\n").unwrap();
        }
        let master = started(parent.path()).unwrap_err().to_string();
        let secret = folder(parent.path()).load_or_generate_secret_key(&Env::system());
        let secret = secret.map(drop).unwrap_err().to_string();
        assert!(master.contains("not 32 bytes") && secret.contains("has 5 bytes"), "{master} {secret}");
        assert!(!master.contains("short") && !secret.contains("short"));
        assert_eq!(fs::read_to_string(parent.path().join("master.key")).unwrap(), "short\n");
    }

    #[test]
    fn key_file_readable_by_others_causes_a_warning() {
        let parent = tempfile::tempdir().unwrap();
        started(parent.path()).unwrap();
        let file = parent.path().join("master.key");
        fs::set_permissions(&file, fs::Permissions::from_mode(0o644)).unwrap();
        let mut again = folder(parent.path());
        again.load_master_keys(Vec::new()).unwrap();
        assert!(again.warnings[0].contains("chmod 600"), "{:?}", again.warnings);
    }

    #[test]
    fn leftover_temporary_file_is_replaced() {
        let parent = tempfile::tempdir().unwrap();
        fs::write(parent.path().join(".master.key.new"), "half a k").unwrap();
        let made = started(parent.path()).unwrap();
        assert_eq!(folder(parent.path()).load_master_keys(Vec::new()).unwrap().keys().current(), made);
        assert_eq!(mode(&parent.path().join("master.key")), 0o600);
    }

    #[test]
    fn concurrent_starts_share_one_key() {
        let parent = tempfile::tempdir().unwrap();
        let start = || {
            let mut folder = folder(parent.path());
            let _lock = folder.lock().unwrap();
            folder.load_or_generate_master_keys(Vec::new(), &Env::system()).unwrap().keys().current()
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
        let missing = DataFolder::existing(&parent.path().join("none")).map(drop).unwrap_err();
        assert_eq!(missing, DataFolderError::NoDatabase(parent.path().join("none/aegis.db")));
        assert!(!parent.path().join("none").exists());
    }
}

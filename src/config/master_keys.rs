//! The master keys of a process and their sources: they come from settings or from the data directory, which
//! holds the current one in `master.key` and, after a rotation, previous ones in `master-<id>.key`.

use std::fmt;
use std::fs::{self, File};
use std::path::PathBuf;
use std::sync::Arc;

use store::key_store::{KeyId, KeySource};
use store::{Env, Keyring, MasterKey, MasterKeys};

use super::data_folder::{DATABASE_FILE, DataFolder, DataFolderError, MASTER_KEY_FILE};
use super::error::SettingSource;

/// A master key and its source.
#[derive(Clone)]
pub struct LoadedKey {
    pub key: MasterKey,
    pub source: SettingSource,
}

/// The master keys of a process. Its `Debug` shows only their ids.
#[derive(Clone)]
pub struct MasterKeySetting {
    current: LoadedKey,
    /// Previous keys from the data directory.
    stored: Vec<LoadedKey>,
    /// Previous keys from settings.
    configured: Vec<LoadedKey>,
    /// The data directory, if the current key is stored there.
    folder: Option<PathBuf>,
}

impl MasterKeySetting {
    /// Keys from settings.
    #[must_use]
    pub fn configured(current: LoadedKey, previous: Vec<LoadedKey>) -> Self {
        Self { current, stored: Vec::new(), configured: previous, folder: None }
    }

    #[must_use]
    pub fn keys(&self) -> MasterKeys {
        let previous = self.stored.iter().chain(&self.configured);
        MasterKeys::new(self.current.key.clone(), previous.map(|loaded| loaded.key.clone()))
    }

    /// The keys for a long-running process: key files are read again when a key is missing, because another
    /// process may have rotated it.
    #[must_use]
    pub fn keyring(&self) -> Keyring {
        let source = self.files().map(|files| -> Arc<dyn KeySource> { Arc::new(files) });
        Keyring::new(self.keys(), source)
    }

    /// Where a key comes from.
    #[must_use]
    pub fn source(&self, id: KeyId) -> Option<&SettingSource> {
        let mut loaded = std::iter::once(&self.current).chain(&self.stored).chain(&self.configured);
        loaded.find_map(|loaded| (loaded.key.id() == id).then_some(&loaded.source))
    }

    fn files(&self) -> Option<Files> {
        Some(Files { folder: self.folder.clone()?, configured: self.configured.clone() })
    }
}

impl From<MasterKey> for MasterKeySetting {
    fn from(key: MasterKey) -> Self {
        Self::configured(LoadedKey { key, source: SettingSource::Environment }, Vec::new())
    }
}

impl fmt::Debug for MasterKeySetting {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "MasterKeys({:?})", self.keys())
    }
}

impl DataFolder {
    /// The master keys stored here, and previous ones from settings.
    pub(super) fn load_master_keys(
        &mut self,
        configured: Vec<LoadedKey>,
    ) -> Result<MasterKeySetting, DataFolderError> {
        // Current key first: a rotation stores the old key under its id before it replaces the current one.
        let Some(current) = self.load_key(MASTER_KEY_FILE)? else {
            let (database, key_file) = (self.path.join(DATABASE_FILE), self.path.join(MASTER_KEY_FILE));
            return Err(DataFolderError::MasterKeyMissing { database, key_file });
        };
        let mut stored = Vec::new();
        for name in self.previous_key_files()? {
            match self.load_key(&name) {
                Ok(key) => stored.extend(key),
                // If anything in the database needs this key, it is reported as missing then.
                Err(error) => self.warnings.push(error.to_string()),
            }
        }
        Ok(MasterKeySetting { current, stored, configured, folder: Some(self.path.clone()) })
    }

    /// The master keys stored here. A new one is generated unless a database exists, which needs its own key.
    pub(super) fn load_or_generate_master_keys(
        &mut self,
        configured: Vec<LoadedKey>,
        env: &Env,
    ) -> Result<MasterKeySetting, DataFolderError> {
        if !self.contains(MASTER_KEY_FILE)? && !self.contains(DATABASE_FILE)? {
            self.write(MASTER_KEY_FILE, &MasterKey::generate(env).to_base64())?;
        }
        self.load_master_keys(configured)
    }

    fn load_key(&mut self, name: &str) -> Result<Option<LoadedKey>, DataFolderError> {
        let Some((text, file)) = self.read(name)? else { return Ok(None) };
        match MasterKey::from_base64(&text) {
            Ok(key) => Ok(Some(LoadedKey { key, source: SettingSource::DataFolder(file) })),
            Err(error) => Err(DataFolderError::InvalidKey { file, problem: error.to_string() }),
        }
    }

    fn previous_key_files(&self) -> Result<Vec<String>, DataFolderError> {
        let entries =
            fs::read_dir(&self.path).map_err(|error| DataFolderError::io("read", &self.path, &error))?;
        let names = entries.filter_map(|entry| entry.ok()?.file_name().into_string().ok());
        let mut names: Vec<_> = names.filter(|name| is_previous_key_file(name)).collect();
        names.sort_unstable();
        Ok(names)
    }
}

fn previous_key_file(id: KeyId) -> String {
    format!("master-{id}.key")
}

fn is_previous_key_file(name: &str) -> bool {
    let id = name.strip_prefix("master-").and_then(|rest| rest.strip_suffix(".key"));
    id.is_some_and(|id| id.len() == 16 && id.bytes().all(|digit| digit.is_ascii_hexdigit()))
}

/// The key files of a data directory.
struct Files {
    folder: PathBuf,
    configured: Vec<LoadedKey>,
}

impl Files {
    fn load(&self) -> Result<MasterKeySetting, DataFolderError> {
        DataFolder::new(&self.folder).load_master_keys(self.configured.clone())
    }
}

impl KeySource for Files {
    fn read(&self) -> Result<MasterKeys, String> {
        self.load().map(|keys| keys.keys()).map_err(|error| error.to_string())
    }
}

/// The key files of a data directory, locked by this process.
pub struct KeyFiles {
    files: Files,
    _lock: File,
}

impl KeyFiles {
    /// Locks the files from which these keys were loaded, waiting for other processes; `None` if the current
    /// key comes from settings.
    ///
    /// # Errors
    /// [`DataFolderError`] if the directory cannot be locked.
    pub fn lock(keys: &MasterKeySetting) -> Result<Option<Self>, DataFolderError> {
        let Some(files) = keys.files() else { return Ok(None) };
        let lock = DataFolder::new(&files.folder).lock()?;
        Ok(Some(Self { files, _lock: lock }))
    }

    /// Reads the files again.
    ///
    /// # Errors
    /// [`DataFolderError`] if a key is missing or invalid.
    pub fn load(&self) -> Result<MasterKeySetting, DataFolderError> {
        self.files.load()
    }

    /// Replaces the current master key by a new one and stores the old one under its id. A crash at any
    /// moment leaves a current key in `master.key` and loses no old one.
    ///
    /// # Errors
    /// [`DataFolderError`] if a file cannot be written.
    pub fn rotate(&self, env: &Env) -> Result<(), DataFolderError> {
        let old = self.load()?.current.key;
        let folder = DataFolder::new(&self.files.folder);
        folder.write(&previous_key_file(old.id()), &old.to_base64())?;
        folder.write(MASTER_KEY_FILE, &MasterKey::generate(env).to_base64())
    }

    /// Deletes the file of a previous key; returns its path, if it existed.
    ///
    /// # Errors
    /// [`DataFolderError`] if it cannot be deleted.
    pub fn delete(&self, id: KeyId) -> Result<Option<PathBuf>, DataFolderError> {
        let file = self.files.folder.join(previous_key_file(id));
        match fs::remove_file(&file) {
            Ok(()) => Ok(Some(file)),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(DataFolderError::io("delete", &file, &error)),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;
    use std::path::Path;

    use tempfile::TempDir;

    use super::*;

    fn started(path: &Path) -> MasterKeySetting {
        DataFolder::create(path).unwrap().load_or_generate_master_keys(Vec::new(), &Env::system()).unwrap()
    }

    /// A data directory with its first key, and its locked files.
    fn folder() -> (TempDir, MasterKeySetting, KeyFiles) {
        let folder = tempfile::tempdir().unwrap();
        let keys = started(folder.path());
        let files = KeyFiles::lock(&keys).unwrap().unwrap();
        (folder, keys, files)
    }

    fn stored(folder: &TempDir, id: KeyId) -> PathBuf {
        folder.path().join(format!("master-{id}.key"))
    }

    fn ids(keys: &MasterKeySetting) -> Vec<KeyId> {
        keys.keys().ids().collect()
    }

    #[test]
    fn rotation_stores_the_previous_key() {
        let (folder, old, files) = folder();
        files.rotate(&Env::system()).unwrap();
        let both = files.load().unwrap();
        assert_eq!(ids(&both).len(), 2);
        assert_eq!(ids(&both)[1], ids(&old)[0]);
        let stored = stored(&folder, ids(&old)[0]);
        assert_eq!(both.source(ids(&old)[0]), Some(&SettingSource::DataFolder(stored.clone())));
        assert_eq!(fs::metadata(&stored).unwrap().permissions().mode() & 0o777, 0o600);
        assert_eq!(ids(&started(folder.path())), ids(&both), "a restart loads both");

        assert_eq!(files.delete(ids(&old)[0]).unwrap(), Some(stored));
        assert_eq!(files.delete(ids(&old)[0]).unwrap(), None);
        assert_eq!(ids(&files.load().unwrap()), ids(&both)[..1]);
    }

    /// A crash may leave the old key stored but not replaced, and an incomplete temporary file.
    #[test]
    fn interrupted_rotation_loses_no_key() {
        let (folder, old, files) = folder();
        let stored = stored(&folder, ids(&old)[0]);
        fs::copy(folder.path().join("master.key"), &stored).unwrap();
        fs::write(folder.path().join(".master.key.new"), "half a k").unwrap();
        assert_eq!(ids(&started(folder.path())), ids(&old));
        files.rotate(&Env::system()).unwrap();
        let both = ids(&files.load().unwrap());
        assert_eq!((both.len(), both[1]), (2, ids(&old)[0]));
    }

    #[test]
    fn key_is_not_replaced_unless_it_is_stored() {
        let (folder, old, files) = folder();
        let in_the_way = stored(&folder, ids(&old)[0]);
        fs::create_dir_all(in_the_way.join("x")).unwrap();
        files.rotate(&Env::system()).unwrap_err();
        fs::remove_dir_all(in_the_way).unwrap();
        assert_eq!(ids(&started(folder.path())), ids(&old));
    }

    #[test]
    fn running_process_loads_a_rotated_key() {
        let (_folder, old, files) = folder();
        let (keyring, configured) = (old.keyring(), MasterKeySetting::from(old.current.key.clone()));
        files.rotate(&Env::system()).unwrap();
        let new = files.load().unwrap().keys().current();
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        assert_eq!(runtime.block_on(keyring.load_missing([new])).current(), new);
        // Keys from settings are not read from files.
        assert!(KeyFiles::lock(&configured).unwrap().is_none());
        assert!(runtime.block_on(configured.keyring().load_missing([new])).get(new).is_none());
    }

    #[test]
    fn invalid_previous_key_is_only_a_warning() {
        let (folder, old, _files) = folder();
        fs::write(folder.path().join("master-0123456789abcdef.key"), "short").unwrap();
        fs::write(folder.path().join("master-backup.key"), "a file of the operator").unwrap();
        let mut again = DataFolder::create(folder.path()).unwrap();
        assert_eq!(ids(&again.load_master_keys(Vec::new()).unwrap()), ids(&old));
        let warnings = again.warnings.join("\n");
        assert!(warnings.contains("master-0123456789abcdef.key contains no valid key"), "{warnings}");
        assert!(!warnings.contains("master-backup"), "{warnings}");
    }
}

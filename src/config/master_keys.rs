//! The master keys of a process, each with where it comes from: settings name them, or the data folder keeps them, in
//! `master.key` the current one and in `master-<id>.key` those of before a rotation.

use std::fmt;
use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use store::key_store::{KeyId, KeySource};
use store::{Env, Keyring, MasterKey, MasterKeys};

use super::data_folder::{DataFolder, DataFolderError, MASTER_KEY_FILE, cannot, damaged};
use super::error::SettingSource;

/// A master key, and where it comes from.
#[derive(Clone)]
pub struct LoadedKey {
    /// The key.
    pub key: MasterKey,
    /// Where it comes from.
    pub origin: SettingSource,
}

/// The master keys of a process. `Debug` tells their ids alone.
#[derive(Clone)]
pub struct MasterKeySetting {
    current: LoadedKey,
    /// They only open.
    previous: Vec<LoadedKey>,
    /// Those of them that settings name.
    named: Vec<LoadedKey>,
    /// The data folder, if the current one is kept there.
    folder: Option<PathBuf>,
}

impl MasterKeySetting {
    /// Keys that settings name.
    #[must_use]
    pub fn named(current: LoadedKey, previous: Vec<LoadedKey>) -> Self {
        Self { current, named: previous.clone(), previous, folder: None }
    }

    /// The keys.
    #[must_use]
    pub fn keys(&self) -> MasterKeys {
        MasterKeys::new(self.current.key.clone(), self.previous.iter().map(|held| held.key.clone()))
    }

    /// The keys for a process that runs on: those that are kept in files are read again when one is missing.
    #[must_use]
    pub fn ring(&self) -> Keyring {
        let source = |folder: &PathBuf| -> Arc<dyn KeySource> {
            Arc::new(Files { folder: folder.clone(), named: self.named.clone() })
        };
        Keyring::new(self.keys(), self.folder.as_ref().map(source))
    }

    /// Where a key comes from.
    #[must_use]
    pub fn origin(&self, id: KeyId) -> Option<&SettingSource> {
        let mut held = std::iter::once(&self.current).chain(&self.previous);
        held.find_map(|held| (held.key.id() == id).then_some(&held.origin))
    }
}

impl From<MasterKey> for MasterKeySetting {
    fn from(key: MasterKey) -> Self {
        Self::named(LoadedKey { key, origin: SettingSource::Environment }, Vec::new())
    }
}

impl fmt::Debug for MasterKeySetting {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "MasterKeys({:?})", self.keys())
    }
}

impl DataFolder {
    /// The master keys kept here, and others to open with; none if there is no current one.
    pub(super) fn master_keys(
        &mut self,
        named: Vec<LoadedKey>,
    ) -> Result<Option<MasterKeySetting>, DataFolderError> {
        // In this order: a rotation keeps the old key before it replaces the current one.
        let Some(current) = self.master_key(MASTER_KEY_FILE)? else { return Ok(None) };
        let mut previous = Vec::new();
        for name in self.previous_names()? {
            match self.master_key(&name) {
                Ok(key) => previous.extend(key),
                // Whether anything needs it is not known here; if so, it is named as missing.
                Err(error) => self.warnings.push(error.to_string()),
            }
        }
        previous.extend(named.iter().cloned());
        Ok(Some(MasterKeySetting { current, previous, named, folder: Some(self.path.clone()) }))
    }

    /// The master keys kept here, a new one unless there is a database already: that one was made with another key.
    pub(super) fn master_keys_or_new(
        &mut self,
        named: Vec<LoadedKey>,
        env: &Env,
    ) -> Result<MasterKeySetting, DataFolderError> {
        if let Some(keys) = self.master_keys(named.clone())? {
            return Ok(keys);
        }
        if self.has_database()? {
            return Err(self.master_key_missing());
        }
        self.write(MASTER_KEY_FILE, &MasterKey::generate(env).to_base64())?;
        self.master_keys(named)?.ok_or_else(|| self.master_key_missing())
    }

    fn master_key(&mut self, name: &str) -> Result<Option<LoadedKey>, DataFolderError> {
        let Some((text, file)) = self.read(name)? else { return Ok(None) };
        let key = MasterKey::from_base64(&text).map_err(|error| damaged(&file, &error.to_string()))?;
        Ok(Some(LoadedKey { key, origin: SettingSource::DataFolder(file) }))
    }

    fn previous_names(&self) -> Result<Vec<String>, DataFolderError> {
        let entries = fs::read_dir(&self.path).map_err(|error| cannot("read", &self.path, &error))?;
        let names = entries.filter_map(|entry| entry.ok()?.file_name().into_string().ok());
        let mut names: Vec<_> = names.filter(|name| is_previous(name)).collect();
        names.sort_unstable();
        Ok(names)
    }
}

fn previous_name(id: KeyId) -> String {
    format!("master-{id}.key")
}

fn is_previous(name: &str) -> bool {
    let id = name.strip_prefix("master-").and_then(|rest| rest.strip_suffix(".key"));
    id.is_some_and(|id| id.len() == 16 && id.bytes().all(|digit| digit.is_ascii_hexdigit()))
}

/// The key files of a data folder, to be read again.
struct Files {
    folder: PathBuf,
    named: Vec<LoadedKey>,
}

impl KeySource for Files {
    fn read(&self) -> Result<MasterKeys, String> {
        let mut folder = DataFolder::at(&self.folder);
        let keys = folder.master_keys(self.named.clone()).map_err(|error| error.to_string())?;
        keys.map(|keys| keys.keys()).ok_or_else(|| folder.master_key_missing().to_string())
    }
}

/// The key files of a data folder, in the hands of one process at a time.
pub struct KeyFiles {
    files: Files,
    _lock: File,
}

impl KeyFiles {
    /// The files that these keys come from, once nobody else has them; `None` if settings name the current one.
    ///
    /// # Errors
    /// [`DataFolderError`] if the folder cannot be locked.
    pub fn of(keys: &MasterKeySetting) -> Result<Option<Self>, DataFolderError> {
        let Some(folder) = keys.folder.clone() else { return Ok(None) };
        let lock = DataFolder::at(&folder).lock()?;
        Ok(Some(Self { files: Files { folder, named: keys.named.clone() }, _lock: lock }))
    }

    /// The keys that are there now.
    ///
    /// # Errors
    /// [`DataFolderError`] if they are damaged, or gone.
    pub fn read(&self) -> Result<MasterKeySetting, DataFolderError> {
        let mut folder = DataFolder::at(&self.files.folder);
        folder.master_keys(self.files.named.clone())?.ok_or_else(|| folder.master_key_missing())
    }

    /// Makes a new master key the current one; that of before is kept beside it. Killed at any moment, it leaves the
    /// current key in `master.key`, whichever that is, and the old one under its id or still there.
    ///
    /// # Errors
    /// [`DataFolderError`] if they cannot be written.
    pub fn renew(&self, env: &Env) -> Result<(), DataFolderError> {
        let old = self.read()?.current.key;
        let folder = DataFolder::at(&self.files.folder);
        folder.write(&previous_name(old.id()), &old.to_base64())?;
        folder.write(MASTER_KEY_FILE, &MasterKey::generate(env).to_base64())
    }

    /// Deletes the file that keeps a key of before; gives its path, if there was one.
    ///
    /// # Errors
    /// [`DataFolderError`] if it cannot be deleted.
    pub fn delete(&self, id: KeyId) -> Result<Option<PathBuf>, DataFolderError> {
        let file = self.files.folder.join(previous_name(id));
        match fs::remove_file(&file) {
            Ok(()) => Ok(Some(file)),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(cannot("delete", &file, &error)),
        }
    }

    /// The folder.
    #[must_use]
    pub fn folder(&self) -> &Path {
        &self.files.folder
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    fn started(path: &Path) -> MasterKeySetting {
        DataFolder::for_service(path).unwrap().master_keys_or_new(Vec::new(), &Env::system()).unwrap()
    }

    fn ids(keys: &MasterKeySetting) -> Vec<KeyId> {
        keys.keys().ids().collect()
    }

    #[test]
    fn rotation_stores_the_previous_key() {
        let folder = tempfile::tempdir().unwrap();
        let old = started(folder.path());
        let files = KeyFiles::of(&old).unwrap().unwrap();
        files.renew(&Env::system()).unwrap();
        let both = files.read().unwrap();
        assert_eq!(ids(&both).len(), 2);
        assert_eq!(ids(&both)[1], ids(&old)[0]);
        let kept = folder.path().join(format!("master-{}.key", ids(&old)[0]));
        assert_eq!(both.origin(ids(&old)[0]), Some(&SettingSource::DataFolder(kept.clone())));
        assert_eq!(fs::metadata(&kept).unwrap().permissions().mode() & 0o777, 0o600);
        assert_eq!(ids(&started(folder.path())), ids(&both), "whoever starts has both");

        assert_eq!(files.delete(ids(&old)[0]).unwrap(), Some(kept));
        assert_eq!(files.delete(ids(&old)[0]).unwrap(), None);
        assert_eq!(ids(&files.read().unwrap()), ids(&both)[..1]);
    }

    /// What a kill leaves: the old key kept and the current one not replaced yet; and half of a draft.
    #[test]
    fn interrupted_rotation_loses_no_key() {
        let folder = tempfile::tempdir().unwrap();
        let old = started(folder.path());
        let kept = folder.path().join(format!("master-{}.key", ids(&old)[0]));
        fs::copy(folder.path().join("master.key"), &kept).unwrap();
        fs::write(folder.path().join(".master.key.new"), "half a k").unwrap();
        assert_eq!(ids(&started(folder.path())), ids(&old));
        let files = KeyFiles::of(&old).unwrap().unwrap();
        files.renew(&Env::system()).unwrap();
        let both = ids(&files.read().unwrap());
        assert_eq!((both.len(), both[1]), (2, ids(&old)[0]));
    }

    #[test]
    fn key_is_not_replaced_unless_it_is_stored() {
        let folder = tempfile::tempdir().unwrap();
        let old = started(folder.path());
        let in_the_way = folder.path().join(format!("master-{}.key", ids(&old)[0]));
        let files = KeyFiles::of(&old).unwrap().unwrap();
        fs::create_dir_all(in_the_way.join("x")).unwrap();
        files.renew(&Env::system()).unwrap_err();
        fs::remove_dir_all(in_the_way).unwrap();
        assert_eq!(ids(&started(folder.path())), ids(&old));
    }

    #[test]
    fn running_process_loads_a_rotated_key() {
        let folder = tempfile::tempdir().unwrap();
        let old = started(folder.path());
        let (ring, named) = (old.ring(), MasterKeySetting::from(old.current.key.clone()));
        let files = KeyFiles::of(&old).unwrap().unwrap();
        files.renew(&Env::system()).unwrap();
        let new = files.read().unwrap().keys().current();
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        assert_eq!(runtime.block_on(ring.load_missing([new])).current(), new);
        // Keys that settings name are not looked for in files.
        assert!(KeyFiles::of(&named).unwrap().is_none());
        assert!(runtime.block_on(named.ring().load_missing([new])).get(new).is_none());
    }

    #[test]
    fn invalid_previous_key_is_only_a_warning() {
        let folder = tempfile::tempdir().unwrap();
        let old = started(folder.path());
        fs::write(folder.path().join("master-0123456789abcdef.key"), "short").unwrap();
        fs::write(folder.path().join("master-backup.key"), "somebody's own").unwrap();
        let mut again = DataFolder::for_service(folder.path()).unwrap();
        assert_eq!(ids(&again.master_keys(Vec::new()).unwrap().unwrap()), ids(&old));
        let told = again.warnings.join("\n");
        assert!(told.contains("master-0123456789abcdef.key holds no usable key"), "{told}");
        assert!(!told.contains("master-backup"), "{told}");
    }
}

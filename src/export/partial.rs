//! An export while it is written: `FILE.part` and its saved progress, `FILE.part.json`. A killed export
//! resumes there; only a finished file gets its final name.

use std::fs::{self, File, OpenOptions, TryLockError};
use std::io::{self, BufReader, BufWriter, ErrorKind, Read, Seek, SeekFrom, Write};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use aws_lc_rs::digest::{Context, SHA256};
use rustix::fs::OFlags;
use rustix::io::Errno;
use rustix::process::geteuid;
use serde::{Deserialize, Serialize};

use super::ExportError;
use super::format::ExportFormat;
use super::manifest::Manifest;

const PRIVATE_MODE: u32 = 0o600;
/// How often the progress is saved.
const SAVE_INTERVAL: Duration = Duration::from_secs(1);

/// The arguments of an export as typed: only the same arguments resume a partial file.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ExportRequest {
    pub log: String,
    pub format: ExportFormat,
    pub from: Option<String>,
    pub to: Option<String>,
    /// Empty: all.
    pub types: Vec<String>,
}

/// The contents of an export: fixed when it begins, retained when it is resumed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ExportPlan {
    #[serde(rename = "asked")]
    pub request: ExportRequest,
    pub from: u64,
    pub to: u64,
    /// A signed checkpoint of `to` events or more.
    pub checkpoint: String,
}

/// The part of the file that is known to be on disk.
#[derive(Serialize, Deserialize)]
struct SavedProgress {
    plan: ExportPlan,
    bytes: u64,
    position: u64,
    count: u64,
}

impl SavedProgress {
    fn new(plan: ExportPlan) -> Self {
        Self { bytes: 0, position: plan.from.saturating_sub(1), count: 0, plan }
    }

    /// The saved progress, if any. A file of other arguments is refused.
    fn read(target: &Path, plan: &ExportPlan) -> Result<Option<Self>, ExportError> {
        let path = sibling(target, ".part.json");
        let saved: Option<Self> = match open_own(&path) {
            Ok(file) => serde_json::from_reader(BufReader::new(file)).ok(),
            Err(OpenError::Io(error)) if error.kind() == ErrorKind::NotFound => None,
            Err(error) => return Err(error.at(&path)),
        };
        match saved {
            Some(saved) if saved.plan.request != plan.request => Err(ExportError::Refused(format!(
                "{} was started with other arguments (see {}): use the same arguments, or remove both files",
                sibling(target, ".part").display(),
                path.display()
            ))),
            saved => Ok(saved),
        }
    }
}

/// A file that is being written. It is locked.
pub struct PartialExport {
    target: PathBuf,
    plan: ExportPlan,
    file: BufWriter<File>,
    hash: Context,
    bytes: u64,
    position: u64,
    count: u64,
    saved_at: Instant,
}

impl PartialExport {
    /// Creates the file, or resumes one of the same request.
    ///
    /// # Errors
    /// [`ExportError::Refused`] if the target exists, or a partial file of another request.
    pub fn open(target: &Path, plan: ExportPlan, force: bool) -> Result<Self, ExportError> {
        if target.exists() && !force {
            let target = target.display();
            return Err(ExportError::Refused(format!(
                "{target} already exists: choose another file, or add `--force`"
            )));
        }
        let path = sibling(target, ".part");
        let (mut file, is_new) = open_locked(&path)?;
        // Progress that was saved for a deleted or already renamed file does not apply to a new one.
        let saved = if is_new { None } else { SavedProgress::read(target, &plan)? };
        let (state, hash) = resume(&mut file, saved, plan).map_err(ExportError::file(&path))?;
        let SavedProgress { plan, bytes, position, count } = state;
        let file = BufWriter::with_capacity(1 << 20, file);
        let mut part = Self {
            target: target.to_owned(),
            plan,
            file,
            hash,
            bytes,
            position,
            count,
            saved_at: Instant::now(),
        };
        part.save()?;
        if bytes == 0 {
            let header = part.plan.request.format.header()?;
            part.write(&header)?;
        }
        Ok(part)
    }

    #[must_use]
    pub fn plan(&self) -> &ExportPlan {
        &self.plan
    }

    /// The last position that was read.
    #[must_use]
    pub fn position(&self) -> u64 {
        self.position
    }

    /// The number of events written.
    #[must_use]
    pub fn count(&self) -> u64 {
        self.count
    }

    /// Adds the lines of `count` events: all events up to `position` have been read then.
    ///
    /// # Errors
    /// [`ExportError::File`], such as for a full disk.
    pub fn add(&mut self, lines: &str, count: u64, position: u64) -> Result<(), ExportError> {
        self.write(lines)?;
        self.count += count;
        self.position = position;
        if self.saved_at.elapsed() < SAVE_INTERVAL { Ok(()) } else { self.save() }
    }

    /// Syncs to disk and returns the number of events.
    ///
    /// # Errors
    /// [`ExportError::File`], such as for a full disk.
    pub fn save_and_close(mut self) -> Result<u64, ExportError> {
        self.save()?;
        Ok(self.count)
    }

    /// The path of the partial file.
    #[must_use]
    pub fn path(target: &Path) -> PathBuf {
        sibling(target, ".part")
    }

    /// Writes the manifest, which is given the SHA-256, and renames the file to its target.
    ///
    /// # Errors
    /// [`ExportError::File`].
    pub fn finish(
        mut self,
        manifest: impl FnOnce(&ExportPlan, u64, String) -> Manifest,
    ) -> Result<Manifest, ExportError> {
        self.save()?;
        let sha256 = hex::encode(self.hash.finish());
        let manifest = manifest(&self.plan, self.count, sha256);
        let text = serde_json::to_string_pretty(&manifest)
            .map_err(|error| ExportError::Refused(error.to_string()))?;
        replace_atomically(&Manifest::path(&self.target), text.as_bytes())?;
        let part = sibling(&self.target, ".part");
        fs::rename(&part, &self.target).map_err(ExportError::file(&self.target))?;
        let state = sibling(&self.target, ".part.json");
        fs::remove_file(&state).map_err(ExportError::file(&state))?;
        Ok(manifest)
    }

    fn write(&mut self, text: &str) -> Result<(), ExportError> {
        self.file.write_all(text.as_bytes()).map_err(ExportError::file(sibling(&self.target, ".part")))?;
        self.hash.update(text.as_bytes());
        self.bytes += u64::try_from(text.len()).unwrap_or(u64::MAX);
        Ok(())
    }

    /// Syncs the file, then saves the progress.
    fn save(&mut self) -> Result<(), ExportError> {
        let path = sibling(&self.target, ".part");
        self.file.flush().map_err(ExportError::file(&path))?;
        self.file.get_ref().sync_data().map_err(ExportError::file(&path))?;
        let state = SavedProgress {
            plan: self.plan.clone(),
            bytes: self.bytes,
            position: self.position,
            count: self.count,
        };
        let text = serde_json::to_vec(&state).map_err(|error| ExportError::Refused(error.to_string()))?;
        replace_atomically(&sibling(&self.target, ".part.json"), &text)?;
        self.saved_at = Instant::now();
        Ok(())
    }
}

/// Opens and locks a file; returns whether it is new. The lock ends with the process.
fn open_locked(path: &Path) -> Result<(File, bool), ExportError> {
    let open = || {
        let (file, is_new) = match create(path) {
            Err(error) if error.kind() == ErrorKind::AlreadyExists => (open_own(path)?, false),
            created => (created?, true),
        };
        match file.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => return Ok(None),
            Err(TryLockError::Error(error)) => return Err(error.into()),
        }
        // The previous lock holder may have renamed the file before this lock was taken.
        let (ours, named) = (file.metadata()?, fs::metadata(path));
        let is_named = named.is_ok_and(|named| (named.dev(), named.ino()) == (ours.dev(), ours.ino()));
        Ok(is_named.then_some((file, is_new)))
    };
    let opened = open().map_err(|error: OpenError| error.at(path))?;
    opened.ok_or_else(|| {
        ExportError::Refused(format!(
            "another export is writing {}: wait for it, or choose another file",
            path.display()
        ))
    })
}

/// Creates a file that did not exist, accessible to its owner only.
fn create(path: &Path) -> io::Result<File> {
    OpenOptions::new().create_new(true).read(true).write(true).mode(PRIVATE_MODE).open(path)
}

/// Opens an existing file that only this user can access. Anything else may have been prepared by another user, to
/// read the export or to have it written elsewhere.
fn open_own(path: &Path) -> Result<File, OpenError> {
    open_of(geteuid().as_raw(), path)
}

fn open_of(user: u32, path: &Path) -> Result<File, OpenError> {
    let no_follow = i32::try_from(OFlags::NOFOLLOW.bits()).unwrap_or_default();
    let opened = OpenOptions::new().read(true).write(true).custom_flags(no_follow).open(path);
    let file = opened.map_err(|error| match error.raw_os_error() {
        Some(code) if code == Errno::LOOP.raw_os_error() => OpenError::Foreign("it is a symbolic link"),
        _ => OpenError::Io(error),
    })?;
    let found = file.metadata()?;
    if !found.is_file() || found.nlink() != 1 {
        Err(OpenError::Foreign("it is no regular file with a single name"))
    } else if found.uid() != user {
        Err(OpenError::Foreign("it belongs to another user"))
    } else if found.mode() & 0o077 != 0 {
        Err(OpenError::Foreign("other users have access to it"))
    } else {
        Ok(file)
    }
}

/// Why an existing file is not used.
enum OpenError {
    Io(io::Error),
    Foreign(&'static str),
}

impl From<io::Error> for OpenError {
    fn from(error: io::Error) -> Self {
        Self::Io(error)
    }
}

impl OpenError {
    fn at(self, path: &Path) -> ExportError {
        match self {
            Self::Io(error) => ExportError::file(path)(error),
            Self::Foreign(why) => ExportError::Refused(format!(
                "{} was not written by an export of this user, {why}: remove it, or choose another file",
                path.display()
            )),
        }
    }
}

/// Truncates the file to its saved progress and hashes it; a shorter file starts over.
fn resume(
    file: &mut File,
    saved: Option<SavedProgress>,
    plan: ExportPlan,
) -> std::io::Result<(SavedProgress, Context)> {
    let mut hash = Context::new(&SHA256);
    let state = match saved {
        Some(saved) if hash_prefix(file, saved.bytes, &mut hash)? => saved,
        _ => {
            hash = Context::new(&SHA256);
            SavedProgress::new(plan)
        }
    };
    // The rest was not saved and may be torn.
    file.set_len(state.bytes)?;
    file.seek(SeekFrom::Start(state.bytes))?;
    Ok((state, hash))
}

/// Hashes the first `bytes` bytes; returns whether there are as many.
fn hash_prefix(file: &mut File, bytes: u64, hash: &mut Context) -> std::io::Result<bool> {
    let mut left = file.take(bytes);
    let mut buffer = vec![0; 1 << 16];
    let mut seen = 0;
    loop {
        let read = left.read(&mut buffer)?;
        if read == 0 {
            return Ok(seen == bytes);
        }
        hash.update(buffer.get(..read).unwrap_or_default());
        seen += u64::try_from(read).unwrap_or_default();
    }
}

/// Replaces a file by way of a rename: after a crash there is either the old or the new one.
fn replace_atomically(path: &Path, text: &[u8]) -> Result<(), ExportError> {
    let new = sibling(path, ".new");
    let write = || {
        // What an interrupted export, or another user, has left there is removed and not written to.
        match fs::remove_file(&new) {
            Err(error) if error.kind() != ErrorKind::NotFound => return Err(error),
            Ok(()) | Err(_) => {}
        }
        let mut file = create(&new)?;
        file.write_all(text)?;
        file.sync_all()?;
        fs::rename(&new, path)
    };
    write().map_err(ExportError::file(path))
}

fn sibling(path: &Path, suffix: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(suffix);
    name.into()
}

#[cfg(test)]
mod tests;

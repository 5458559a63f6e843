//! An export while it is being written: `FILE.part`, and beside it how far it is. After a kill it goes on from there, and
//! only what is whole gets the name that was asked for.

use std::fs::{self, File, OpenOptions, TryLockError};
use std::io::{BufWriter, ErrorKind, Read, Seek, SeekFrom, Write};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use aws_lc_rs::digest::{Context, SHA256};
use serde::{Deserialize, Serialize};

use super::format::ExportFormat;
use super::manifest::Manifest;
use super::{ExportError, hex};

/// How often it is noted how far the file is.
const SAVE_INTERVAL: Duration = Duration::from_secs(1);

/// What was asked for, in the words of whoever asked: the same words go on with what they began.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ExportRequest {
    /// The name of the log.
    pub log: String,
    /// The form.
    pub format: ExportFormat,
    /// From where on, if that was said.
    pub from: Option<String>,
    /// Up to where, if that was said.
    pub to: Option<String>,
    /// Only these types; empty: all.
    pub types: Vec<String>,
}

/// What an export is to hold. Settled when it is begun, and kept when it goes on.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ExportPlan {
    /// What was asked for.
    pub asked: ExportRequest,
    /// The first position.
    pub from: u64,
    /// The last position.
    pub to: u64,
    /// A signed head of `to` events or more.
    pub checkpoint: String,
}

/// How far a file is.
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

    /// What was noted of the file, if anything was; by the same request, or it is left alone.
    fn read(target: &Path, plan: &ExportPlan) -> Result<Option<Self>, ExportError> {
        let path = sibling(target, ".part.json");
        let begun: Option<Self> = match fs::read(&path) {
            Err(error) if error.kind() == ErrorKind::NotFound => None,
            text => serde_json::from_slice(&text.map_err(ExportError::file(&path))?).ok(),
        };
        match begun {
            Some(begun) if begun.plan.asked != plan.asked => Err(ExportError::Refused(format!(
                "{} was begun with other arguments (see {}): run it with those, or remove both",
                sibling(target, ".part").display(),
                path.display()
            ))),
            begun => Ok(begun),
        }
    }
}

/// A file that is being written.
pub struct PartialExport {
    target: PathBuf,
    plan: ExportPlan,
    file: BufWriter<File>,
    hash: Context,
    bytes: u64,
    position: u64,
    count: u64,
    saved: Instant,
}

impl PartialExport {
    /// Begins a file, or goes on with one that was begun by the same request.
    ///
    /// # Errors
    /// [`ExportError::Refused`] if there is such a file, or one that another request has begun.
    pub fn open(target: &Path, plan: ExportPlan, force: bool) -> Result<Self, ExportError> {
        if target.exists() && !force {
            let target = target.display();
            return Err(ExportError::Refused(format!(
                "{target} is there already: name another, or add `--force`"
            )));
        }
        let path = sibling(target, ".part");
        let (mut file, is_new) = open_locked(&path)?;
        // What was noted of a file that is gone, or has got its name already, tells nothing of a new one.
        let begun = if is_new { None } else { SavedProgress::read(target, &plan)? };
        let (state, hash) = resume(&mut file, begun, plan).map_err(ExportError::file(&path))?;
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
            saved: Instant::now(),
        };
        part.save()?;
        if bytes == 0 {
            let header = part.plan.asked.format.header();
            part.write(&header)?;
        }
        Ok(part)
    }

    /// What it is to hold.
    #[must_use]
    pub fn plan(&self) -> &ExportPlan {
        &self.plan
    }

    /// The last position that was looked at.
    #[must_use]
    pub fn position(&self) -> u64 {
        self.position
    }

    /// How many events are in it.
    #[must_use]
    pub fn count(&self) -> u64 {
        self.count
    }

    /// Adds so many events, after which it has looked at everything up to that position.
    ///
    /// # Errors
    /// [`ExportError::File`], such as for a full disk.
    pub fn add(&mut self, lines: &str, count: u64, position: u64) -> Result<(), ExportError> {
        self.write(lines)?;
        self.count += count;
        self.position = position;
        if self.saved.elapsed() < SAVE_INTERVAL { Ok(()) } else { self.save() }
    }

    /// Notes all that was added so far, on the disk; gives how many events that are.
    ///
    /// # Errors
    /// [`ExportError::File`], such as for a full disk.
    pub fn saved(mut self) -> Result<u64, ExportError> {
        self.save()?;
        Ok(self.count)
    }

    /// Where a file is until it is whole.
    #[must_use]
    pub fn path(target: &Path) -> PathBuf {
        sibling(target, ".part")
    }

    /// The file is whole: gives it its name, with its manifest. Says what its SHA-256 is.
    ///
    /// # Errors
    /// [`ExportError::File`].
    pub fn finish(
        mut self,
        manifest: impl FnOnce(&ExportPlan, u64, String) -> Manifest,
    ) -> Result<Manifest, ExportError> {
        self.save()?;
        let sha256 = hex(self.hash.finish().as_ref());
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

    /// Notes how far it is, once that is on the disk.
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
        self.saved = Instant::now();
        Ok(())
    }
}

/// Opens a file that nobody else writes, and says whether it is new. The lock goes with the process.
fn open_locked(path: &Path) -> Result<(File, bool), ExportError> {
    let open = || {
        let is_new = !path.try_exists()?;
        let file =
            OpenOptions::new().create(true).read(true).write(true).truncate(false).mode(0o600).open(path)?;
        match file.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => return Ok(None),
            Err(TryLockError::Error(error)) => return Err(error),
        }
        // Whoever held it may have given it its name since.
        let (ours, named) = (file.metadata()?, fs::metadata(path));
        let is_named = named.is_ok_and(|named| (named.dev(), named.ino()) == (ours.dev(), ours.ino()));
        Ok(is_named.then_some((file, is_new)))
    };
    let opened = open().map_err(ExportError::file(path))?;
    opened.ok_or_else(|| {
        ExportError::Refused(format!(
            "another export is writing {}: wait for it, or name another file",
            path.display()
        ))
    })
}

/// Cuts a file to what was noted of it, and hashes that; one that is shorter begins anew.
fn resume(
    file: &mut File,
    begun: Option<SavedProgress>,
    plan: ExportPlan,
) -> std::io::Result<(SavedProgress, Context)> {
    let mut hash = Context::new(&SHA256);
    let state = match begun {
        Some(begun) if hash_prefix(file, begun.bytes, &mut hash)? => begun,
        _ => {
            hash = Context::new(&SHA256);
            SavedProgress::new(plan)
        }
    };
    // Whatever comes after was not noted, and may be torn.
    file.set_len(state.bytes)?;
    file.seek(SeekFrom::Start(state.bytes))?;
    Ok((state, hash))
}

/// Takes the first bytes of a file into the hash; whether there are so many.
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

/// Puts a file in the place of another, or leaves that as it is.
fn replace_atomically(path: &Path, text: &[u8]) -> Result<(), ExportError> {
    let new = sibling(path, ".new");
    let write = || {
        let mut file = OpenOptions::new().create(true).write(true).truncate(true).mode(0o600).open(&new)?;
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

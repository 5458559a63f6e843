//! An export while it is being written: `FILE.part`, and beside it how far it is. After a kill it goes on from there, and
//! only what is whole gets the name that was asked for.

use std::fs::{self, File, OpenOptions};
use std::io::{BufWriter, ErrorKind, Read, Seek, SeekFrom, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use aws_lc_rs::digest::{Context, SHA256};
use serde::{Deserialize, Serialize};

use super::ExportError;
use super::lines::Format;
use super::manifest::Manifest;

/// How often it is noted how far the file is.
const PACE: Duration = Duration::from_secs(1);

/// What an export is to hold. Settled when it is begun, and kept when it goes on.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Plan {
    /// The name of the log.
    pub log: String,
    /// The form.
    pub format: Format,
    /// The first position.
    pub from: u64,
    /// The last position, if one was asked for.
    pub asked_to: Option<u64>,
    /// Only these types; empty: all.
    pub types: Vec<String>,
    /// The last position.
    pub to: u64,
    /// A signed head of `to` events or more.
    pub checkpoint: String,
    /// How many events that head is of.
    pub size: u64,
}

impl Plan {
    /// Whether it was begun by the same words.
    fn is_same_request(&self, other: &Self) -> bool {
        let asked =
            |plan: &Self| (plan.log.clone(), plan.format, plan.from, plan.asked_to, plan.types.clone());
        asked(self) == asked(other)
    }
}

/// How far a file is.
#[derive(Serialize, Deserialize)]
struct State {
    plan: Plan,
    bytes: u64,
    position: u64,
    count: u64,
}

/// A file that is being written.
pub struct Part {
    target: PathBuf,
    plan: Plan,
    file: BufWriter<File>,
    hash: Context,
    bytes: u64,
    position: u64,
    count: u64,
    noted: Instant,
}

impl Part {
    /// Begins a file, or goes on with one that was begun by the same request.
    ///
    /// # Errors
    /// [`ExportError::Refused`] if there is such a file, or one that another request has begun.
    pub fn open(target: &Path, plan: Plan, force: bool) -> Result<Self, ExportError> {
        if target.exists() && !force {
            let target = target.display();
            return Err(ExportError::Refused(format!(
                "{target} is there already: name another, or add `--force`"
            )));
        }
        let (path, state) = (beside(target, ".part"), beside(target, ".part.json"));
        let begun = match fs::read(&state) {
            Err(error) if error.kind() == ErrorKind::NotFound => None,
            text => serde_json::from_slice::<State>(&text.map_err(ExportError::file(&state))?).ok(),
        };
        if let Some(begun) = begun.as_ref().filter(|begun| !begun.plan.is_same_request(&plan)) {
            let (state, from) = (state.display(), begun.plan.from);
            return Err(ExportError::Refused(format!(
                "{} was begun with other arguments (from position {from}, see {state}): run it with those, or remove both",
                path.display()
            )));
        }
        let file =
            OpenOptions::new().create(true).read(true).write(true).truncate(false).mode(0o600).open(&path);
        let mut file = file.map_err(ExportError::file(&path))?;
        let (mut hash, mut resumed) = (Context::new(&SHA256), None);
        if let Some(begun) = begun
            && hashed(&mut file, begun.bytes, &mut hash).map_err(ExportError::file(&path))?
        {
            resumed = Some(begun);
        }
        let State { plan, bytes, position, count } = resumed.unwrap_or_else(|| {
            hash = Context::new(&SHA256);
            State { position: plan.from.saturating_sub(1), bytes: 0, count: 0, plan }
        });
        // Whatever comes after was not noted, and may be torn.
        file.set_len(bytes).map_err(ExportError::file(&path))?;
        file.seek(SeekFrom::Start(bytes)).map_err(ExportError::file(&path))?;
        let file = BufWriter::with_capacity(1 << 20, file);
        let mut part = Self {
            target: target.to_owned(),
            plan,
            file,
            hash,
            bytes,
            position,
            count,
            noted: Instant::now(),
        };
        part.note()?;
        if bytes == 0 {
            let header = part.plan.format.header();
            part.write(&header)?;
        }
        Ok(part)
    }

    /// What it is to hold.
    #[must_use]
    pub fn plan(&self) -> &Plan {
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
        if self.noted.elapsed() < PACE { Ok(()) } else { self.note() }
    }

    /// The file is whole: gives it its name, with its manifest. Says what its SHA-256 is.
    ///
    /// # Errors
    /// [`ExportError::File`].
    pub fn finish(
        mut self,
        manifest: impl FnOnce(&Plan, u64, String) -> Manifest,
    ) -> Result<Manifest, ExportError> {
        self.note()?;
        let digest = self.hash.finish();
        let sha256 = digest.as_ref().iter().fold(String::new(), |text, byte| text + &format!("{byte:02x}"));
        let manifest = manifest(&self.plan, self.count, sha256);
        let text = serde_json::to_string_pretty(&manifest)
            .map_err(|error| ExportError::Refused(error.to_string()))?;
        replace(&Manifest::path(&self.target), text.as_bytes())?;
        let part = beside(&self.target, ".part");
        fs::rename(&part, &self.target).map_err(ExportError::file(&self.target))?;
        let state = beside(&self.target, ".part.json");
        fs::remove_file(&state).map_err(ExportError::file(&state))?;
        Ok(manifest)
    }

    fn write(&mut self, text: &str) -> Result<(), ExportError> {
        self.file.write_all(text.as_bytes()).map_err(ExportError::file(beside(&self.target, ".part")))?;
        self.hash.update(text.as_bytes());
        self.bytes += u64::try_from(text.len()).unwrap_or(u64::MAX);
        Ok(())
    }

    /// Notes how far it is, once that is on the disk.
    fn note(&mut self) -> Result<(), ExportError> {
        let path = beside(&self.target, ".part");
        self.file.flush().map_err(ExportError::file(&path))?;
        self.file.get_ref().sync_data().map_err(ExportError::file(&path))?;
        let state =
            State { plan: self.plan.clone(), bytes: self.bytes, position: self.position, count: self.count };
        let text = serde_json::to_vec(&state).map_err(|error| ExportError::Refused(error.to_string()))?;
        replace(&beside(&self.target, ".part.json"), &text)?;
        self.noted = Instant::now();
        Ok(())
    }
}

/// Takes the first bytes of a file into the hash; whether there are so many.
fn hashed(file: &mut File, bytes: u64, hash: &mut Context) -> std::io::Result<bool> {
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
fn replace(path: &Path, text: &[u8]) -> Result<(), ExportError> {
    let new = beside(path, ".new");
    let write = || {
        let mut file = OpenOptions::new().create(true).write(true).truncate(true).mode(0o600).open(&new)?;
        file.write_all(text)?;
        file.sync_all()?;
        fs::rename(&new, path)
    };
    write().map_err(ExportError::file(path))
}

fn beside(path: &Path, suffix: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(suffix);
    name.into()
}

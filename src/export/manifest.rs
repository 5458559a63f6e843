//! What is in an export, in a file beside it.

use std::path::{Path, PathBuf};

use base64::prelude::{BASE64_STANDARD, Engine};
use serde::{Deserialize, Serialize};
use store::merkle::{Frontier, Hash};
use store::tiles::{from_bytes, to_bytes};

use super::ExportError;
use super::format::ExportFormat;

/// The version of the form.
pub const MANIFEST_VERSION: u32 = 1;

/// What is in an export.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Manifest {
    /// The version of this form.
    pub version: u32,
    /// The name of the log, as in its checkpoints.
    pub log: String,
    /// The form of the events.
    pub format: ExportFormat,
    /// The first position that was looked at.
    pub from: u64,
    /// The last.
    pub to: u64,
    /// Only events of these types; empty: all.
    pub types: Vec<String>,
    /// How many events are in it.
    pub count: u64,
    /// Whether every event from the first position to the last is in it, in a form that can be proved.
    pub complete: bool,
    /// SHA-256 of the file, in hex.
    pub sha256: String,
    /// The root over all events up to `to`, in base64.
    pub root: String,
    /// The right edge of the tree before `from`: the roots of its complete subtrees, largest first, in base64.
    pub before: String,
    /// A signed head of the log, of `to` events or more.
    pub checkpoint: String,
    /// The proof that the log of the checkpoint begins with the events up to `to`: hashes, in base64.
    pub consistency: String,
}

impl Manifest {
    /// Where the manifest of an export is.
    #[must_use]
    pub fn path(export: &Path) -> PathBuf {
        let mut name = export.as_os_str().to_owned();
        name.push(".manifest.json");
        name.into()
    }

    /// The manifest of an export, if it has one.
    ///
    /// # Errors
    /// [`ExportError`] if it is no manifest that this version knows.
    pub fn read(export: &Path) -> Result<Option<Self>, ExportError> {
        let path = Self::path(export);
        let text = match std::fs::read(&path) {
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
            text => text.map_err(ExportError::file(&path))?,
        };
        let unknown = |error: &dyn std::fmt::Display| {
            ExportError::Refused(format!(
                "{} is no manifest that this version knows: {error}",
                path.display()
            ))
        };
        let manifest: Self = serde_json::from_slice(&text).map_err(|error| unknown(&error))?;
        if manifest.version != MANIFEST_VERSION {
            return Err(unknown(&format!("it has version {}", manifest.version)));
        }
        Ok(Some(manifest))
    }

    /// The tree before the first position; none if that cannot be.
    #[must_use]
    pub fn tree_before(&self) -> Option<Frontier> {
        Frontier::from_bytes(self.from.checked_sub(1)?, &BASE64_STANDARD.decode(&self.before).ok()?).ok()
    }

    /// The hashes of the proof; none if they are none.
    #[must_use]
    pub fn proof(&self) -> Option<Vec<Hash>> {
        from_bytes(&BASE64_STANDARD.decode(&self.consistency).ok()?)
    }
}

/// Hashes as a manifest holds them.
#[must_use]
pub fn encode_hashes(hashes: &[Hash]) -> String {
    BASE64_STANDARD.encode(to_bytes(hashes))
}

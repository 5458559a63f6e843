//! The manifest: describes an export in a file beside it.

use std::path::{Path, PathBuf};

use base64::prelude::{BASE64_STANDARD, Engine};
use serde::{Deserialize, Serialize};
use store::merkle::{Frontier, Hash};
use store::tiles::{from_bytes, to_bytes};

use super::ExportError;
use super::format::ExportFormat;

/// The version of the manifest's format.
pub const MANIFEST_VERSION: u32 = 1;

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Manifest {
    pub version: u32,
    /// The name of the log, as in its signed checkpoints.
    pub log: String,
    pub format: ExportFormat,
    /// The first position of the range.
    pub from: u64,
    /// The last position of the range.
    pub to: u64,
    /// The exported event types; empty: all.
    pub types: Vec<String>,
    /// The number of events.
    pub count: u64,
    /// Whether it contains every event of the range in a format that can be verified.
    pub complete: bool,
    /// Of the file, in hexadecimal.
    pub sha256: String,
    /// The Merkle root over all events up to `to`, in base64.
    pub root: String,
    /// The frontier of the tree before `from`: the roots of its complete subtrees, largest first, in base64.
    pub before: String,
    /// A signed checkpoint of `to` events or more.
    pub checkpoint: String,
    /// The consistency proof from `to` to the checkpoint: hashes, in base64.
    pub consistency: String,
}

impl Manifest {
    /// The path of an export's manifest.
    #[must_use]
    pub fn path(export: &Path) -> PathBuf {
        let mut name = export.as_os_str().to_owned();
        name.push(".manifest.json");
        name.into()
    }

    /// Reads the manifest of an export; `None` if there is none.
    ///
    /// # Errors
    /// [`ExportError`] if this version cannot read it.
    pub fn read(export: &Path) -> Result<Option<Self>, ExportError> {
        let path = Self::path(export);
        let text = match std::fs::read(&path) {
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
            text => text.map_err(ExportError::file(&path))?,
        };
        let unknown = |error: &dyn std::fmt::Display| {
            ExportError::Refused(format!("{} is not a manifest of this version: {error}", path.display()))
        };
        let manifest: Self = serde_json::from_slice(&text).map_err(|error| unknown(&error))?;
        if manifest.version != MANIFEST_VERSION {
            return Err(unknown(&format!("it has version {}", manifest.version)));
        }
        Ok(Some(manifest))
    }

    /// The tree before the first position; `None` if it is malformed.
    #[must_use]
    pub fn tree_before(&self) -> Option<Frontier> {
        Frontier::from_bytes(self.from.checked_sub(1)?, &BASE64_STANDARD.decode(&self.before).ok()?).ok()
    }

    /// The hashes of the consistency proof; `None` if they are malformed.
    #[must_use]
    pub fn proof(&self) -> Option<Vec<Hash>> {
        from_bytes(&BASE64_STANDARD.decode(&self.consistency).ok()?)
    }
}

/// Encodes hashes for a manifest.
#[must_use]
pub fn encode_hashes(hashes: &[Hash]) -> String {
    BASE64_STANDARD.encode(to_bytes(hashes))
}

//! Verifies an export offline, with a signed checkpoint and the verifier key and without a database. Writing
//! exports belongs to `writer`.

use std::fmt;
use std::fs::File;
use std::io::{BufRead, BufReader};
use std::path::Path;

use aws_lc_rs::digest::{Context, SHA256};
use base64::prelude::{BASE64_STANDARD, BASE64_URL_SAFE_NO_PAD, Engine};
use jiff::Timestamp;
use serde::Deserialize;
use serde::de::IgnoredAny;
use serde_json::value::RawValue;
use store::Position;
use store::checkpoint::{SignedHead, VerifierKey};
use store::merkle::{Frontier, leaf_hash, verify_consistency};

use super::ExportError;
use super::manifest::Manifest;

/// The result of a verification without mismatch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct VerifiedExport {
    /// The first position of the export.
    pub from: u64,
    /// The last position covered by the checkpoint.
    pub verified_to: u64,
    /// The last position of the export.
    pub to: u64,
    /// The number of events in the checkpoint.
    pub checkpoint_size: u64,
}

/// Why an export was not verified.
#[derive(Debug, thiserror::Error)]
pub enum ExportVerificationError {
    /// The export differs from what was signed.
    #[error("{0}")]
    Mismatch(ExportMismatch),
    /// The checkpoint is not signed by the verifier key.
    #[error(transparent)]
    Checkpoint(store::checkpoint::SignatureError),
    /// The export cannot be read, or not be verified with this checkpoint.
    #[error(transparent)]
    Export(#[from] ExportError),
}

/// The first difference between an export and what was signed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ExportMismatch {
    /// The position of the event; zero if it concerns the file as a whole.
    pub position: Position,
    /// The kind of difference.
    pub kind: ExportMismatchKind,
}

/// `position 3: … [code]`.
impl fmt::Display for ExportMismatch {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "position {}: {} [{}]", self.position, self.kind, self.kind.code())
    }
}

/// The kinds of mismatches. Those that a log can also have share the code of
/// [`FindingKind`](store::FindingKind).
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ExportMismatchKind {
    #[error("the line is not a line of an export")]
    InvalidLine,
    #[error("the line has no event")]
    InvalidEvent,
    #[error("the event is missing; the next one is at position {next}")]
    EventMissing { next: Position },
    #[error("the line has an event with an earlier position")]
    EventReplaced,
    #[error("the leaf hash does not match the event: one of them was changed")]
    LeafMismatch,
    #[error("its time is before that of the previous event")]
    TimeReversed,
    #[error("the events up to this position are not those that the checkpoint was signed for")]
    CheckpointMismatch,
    #[error("the event is missing: the manifest says that the export ends at position {to}")]
    ExportTruncated { to: Position },
    #[error("the manifest was made for another file: the {field} differs")]
    ManifestMismatch { field: &'static str },
    #[error("the manifest has no Merkle tree before this position")]
    ManifestTreeMissing,
}

impl ExportMismatchKind {
    /// A stable, machine-readable name of the variant.
    #[must_use]
    pub fn code(&self) -> &'static str {
        match self {
            Self::InvalidLine => "invalid_line",
            Self::InvalidEvent => "invalid_event",
            Self::EventMissing { .. } => "event_missing",
            Self::EventReplaced => "event_replaced",
            Self::LeafMismatch => "leaf_mismatch",
            Self::TimeReversed => "time_reversed",
            Self::CheckpointMismatch => "checkpoint_mismatch",
            Self::ExportTruncated { .. } => "export_truncated",
            Self::ManifestMismatch { .. } => "manifest_mismatch",
            Self::ManifestTreeMissing => "manifest_tree_missing",
        }
    }
}

/// Verifies an export. `on_progress` receives the position reached, periodically.
///
/// # Errors
/// [`ExportVerificationError::Mismatch`] with the position of the first mismatch.
pub fn verify_export(
    export: &Path,
    checkpoint: &str,
    key: &VerifierKey,
    on_progress: &mut dyn FnMut(u64),
) -> Result<VerifiedExport, ExportVerificationError> {
    let head = key.open(checkpoint).map_err(ExportVerificationError::Checkpoint)?;
    let manifest = Manifest::read(export)?;
    let mut tree = ExportTree::before(manifest.as_ref(), key)?;
    let from = tree.frontier.size() + 1;
    if head.size < from {
        return Err(refused(format!(
            "the checkpoint is of {} events, and the export begins at position {from}: take a later \
             checkpoint",
            head.size
        )));
    }
    let mut file = BufReader::with_capacity(1 << 20, File::open(export).map_err(ExportError::file(export))?);
    let (mut hash, mut line) = (Context::new(&SHA256), Vec::new());
    while file.read_until(b'\n', &mut line).map_err(ExportError::file(export))? > 0 {
        hash.update(&line);
        tree.push_line(&line, &head)?;
        if tree.frontier.size().is_multiple_of(1000) {
            on_progress(tree.frontier.size());
        }
        line.clear();
    }
    let to = tree.frontier.size();
    if let Some(manifest) = &manifest {
        check_manifest(manifest, &tree, &hex::encode(hash.finish()))?;
    }
    if to < from {
        return Err(refused(format!("{} has no events", export.display())));
    }
    let verified_to = verify_coverage(&tree, &head, manifest.as_ref(), key)?;
    Ok(VerifiedExport { from, verified_to, to, checkpoint_size: head.size })
}

/// Checks that the manifest belongs to this file.
fn check_manifest(
    manifest: &Manifest,
    tree: &ExportTree,
    sha256: &str,
) -> Result<(), ExportVerificationError> {
    let to = tree.frontier.size();
    if to != manifest.to {
        let kind = ExportMismatchKind::ExportTruncated { to: Position::new(manifest.to) };
        return Err(mismatch(to.min(manifest.to) + 1, kind));
    }
    let other = |field| Err(mismatch(0, ExportMismatchKind::ManifestMismatch { field }));
    if sha256 != manifest.sha256 {
        return other("SHA-256");
    }
    if manifest.count != (to + 1).saturating_sub(manifest.from) {
        return other("number of events");
    }
    if BASE64_STANDARD.encode(tree.frontier.root()) != manifest.root {
        return other("root");
    }
    Ok(())
}

/// Returns the last position of the export that the checkpoint covers.
fn verify_coverage(
    tree: &ExportTree,
    head: &SignedHead,
    manifest: Option<&Manifest>,
    key: &VerifierKey,
) -> Result<u64, ExportVerificationError> {
    let to = tree.frontier.size();
    if head.size <= to {
        return Ok(head.size);
    }
    let proof_to_head =
        manifest.and_then(|manifest| Some((key.open(&manifest.checkpoint).ok()?, manifest.proof()?)));
    match proof_to_head {
        Some((same, proof)) if same == *head => {
            let root = tree.frontier.root();
            if verify_consistency((to, &root), (head.size, &head.root), &proof) {
                return Ok(to);
            }
            Err(mismatch(to, ExportMismatchKind::CheckpointMismatch))
        }
        _ => Err(refused(format!(
            "the checkpoint is of {} events, and the export ends at position {to}: take an earlier \
             checkpoint, or export again up to there",
            head.size
        ))),
    }
}

/// The Merkle tree over the lines read so far.
struct ExportTree {
    frontier: Frontier,
    last: Option<Timestamp>,
}

impl ExportTree {
    fn before(manifest: Option<&Manifest>, key: &VerifierKey) -> Result<Self, ExportVerificationError> {
        let Some(manifest) = manifest else { return Ok(Self { frontier: Frontier::default(), last: None }) };
        if manifest.log != key.origin() {
            let (log, other) = (&manifest.log, key.origin());
            return Err(refused(format!("the export is of the log {log}, and the key is that of {other}")));
        }
        if !manifest.complete {
            return Err(refused(
                "the export is filtered or is a table, so no Merkle root can be computed: to verify it, \
                 export without `--types`, as `jsonl`"
                    .to_owned(),
            ));
        }
        let frontier = manifest.tree_before();
        let frontier =
            frontier.ok_or_else(|| mismatch(manifest.from, ExportMismatchKind::ManifestTreeMissing))?;
        Ok(Self { frontier, last: None })
    }

    /// Checks and applies the line of the next event.
    fn push_line(&mut self, line: &[u8], head: &SignedHead) -> Result<(), ExportVerificationError> {
        let expected = self.frontier.size() + 1;
        let wrong = |kind| mismatch(expected, kind);
        let line: ExportLine<'_> =
            serde_json::from_slice(line).map_err(|_| wrong(ExportMismatchKind::InvalidLine))?;
        let canonical = line.event.get();
        let event: EventPosition =
            serde_json::from_str(canonical).map_err(|_| wrong(ExportMismatchKind::InvalidEvent))?;
        if event.position > expected {
            return Err(wrong(ExportMismatchKind::EventMissing { next: Position::new(event.position) }));
        }
        if event.position < expected {
            return Err(wrong(ExportMismatchKind::EventReplaced));
        }
        let hash = leaf_hash(canonical.as_bytes());
        if BASE64_URL_SAFE_NO_PAD.decode(line.leaf).ok().as_deref() != Some(&hash) {
            return Err(wrong(ExportMismatchKind::LeafMismatch));
        }
        if self.last.is_some_and(|before| before > event.at) {
            return Err(wrong(ExportMismatchKind::TimeReversed));
        }
        self.last = Some(event.at);
        self.frontier.push(hash);
        if self.frontier.size() == head.size && self.frontier.root() != head.root {
            return Err(wrong(ExportMismatchKind::CheckpointMismatch));
        }
        Ok(())
    }
}

/// A line of an export. Duplicate and unknown fields are rejected: of two events, another parser might return
/// the one that was not verified.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct ExportLine<'a> {
    /// The bytes that are hashed.
    #[serde(borrow)]
    event: &'a RawValue,
    leaf: &'a str,
    #[serde(rename = "personal", default)]
    _personal: IgnoredAny,
    #[serde(rename = "erased", default)]
    _erased: IgnoredAny,
}

/// The fields that determine the place of an event in the log.
#[derive(Deserialize)]
struct EventPosition {
    position: u64,
    at: Timestamp,
}

fn mismatch(position: u64, kind: ExportMismatchKind) -> ExportVerificationError {
    ExportVerificationError::Mismatch(ExportMismatch { position: Position::new(position), kind })
}

fn refused(what: String) -> ExportVerificationError {
    ExportVerificationError::Export(ExportError::Refused(what))
}

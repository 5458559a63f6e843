//! Proving that an export is what was signed: with the export, a checkpoint and the key, and no database.

use std::fs::File;
use std::io::{BufRead, BufReader};
use std::path::Path;

use aws_lc_rs::digest::{Context, SHA256};
use base64::prelude::{BASE64_URL_SAFE_NO_PAD, Engine};
use jiff::Timestamp;
use serde_json::{Deserializer, Value};
use store::checkpoint::{SignedHead, VerifierKey};
use store::merkle::{Frontier, leaf_hash, verify_consistency};
use store::{Finding, Position};

use super::ExportError;
use super::manifest::Manifest;

/// What an export begins its lines with.
const BEGINNING: &str = "{\"event\":";

/// What was proved.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Proved {
    /// The first position of the export.
    pub from: u64,
    /// Up to here it is what was signed.
    pub proved: u64,
    /// The last position of the export.
    pub to: u64,
    /// How many events the checkpoint is of.
    pub size: u64,
}

/// Why an export was not proved.
#[derive(Debug, thiserror::Error)]
pub enum NotProved {
    /// Something is wrong with it.
    #[error("{0}")]
    Found(Finding),
    /// The checkpoint is not one of that key.
    #[error("the checkpoint {0}")]
    Checkpoint(store::checkpoint::NotSigned),
    /// It cannot be proved as things are.
    #[error(transparent)]
    Export(#[from] ExportError),
}

/// Proves an export. `each` is told the position, now and then.
///
/// # Errors
/// [`NotProved::Found`] with the position of the first thing that is wrong.
pub fn prove(
    export: &Path,
    checkpoint: &str,
    key: &VerifierKey,
    each: &mut dyn FnMut(u64),
) -> Result<Proved, NotProved> {
    let head = key.open(checkpoint).map_err(NotProved::Checkpoint)?;
    let manifest = Manifest::read(export)?;
    let mut tree = Tree::before(manifest.as_ref())?;
    let from = tree.frontier.size() + 1;
    if head.size < from {
        return Err(refused(format!(
            "the checkpoint is of {} events, and the export begins at position {from}: take a later checkpoint",
            head.size
        )));
    }
    let mut file = BufReader::with_capacity(1 << 20, File::open(export).map_err(ExportError::file(export))?);
    let (mut hash, mut line) = (Context::new(&SHA256), Vec::new());
    while file.read_until(b'\n', &mut line).map_err(ExportError::file(export))? > 0 {
        hash.update(&line);
        tree.take(&line, &head)?;
        if tree.frontier.size().is_multiple_of(1000) {
            each(tree.frontier.size());
        }
        line.clear();
    }
    let to = tree.frontier.size();
    if let Some(manifest) = &manifest {
        if to != manifest.to {
            let what =
                format!("it is missing: the manifest says that the export ends at position {}", manifest.to);
            return Err(found(to.min(manifest.to) + 1, what));
        }
        let sha256 =
            hash.finish().as_ref().iter().fold(String::new(), |text, byte| text + &format!("{byte:02x}"));
        if sha256 != manifest.sha256 {
            return Err(found(0, "the file is not the one that its manifest was made for (SHA-256)"));
        }
    }
    let proved = covered(&tree, &head, manifest.as_ref(), key)?;
    Ok(Proved { from, proved, to, size: head.size })
}

/// How far the checkpoint proves the export, whose events are one after the other.
fn covered(
    tree: &Tree,
    head: &SignedHead,
    manifest: Option<&Manifest>,
    key: &VerifierKey,
) -> Result<u64, NotProved> {
    let to = tree.frontier.size();
    if head.size <= to {
        return Ok(head.size);
    }
    let bridge =
        manifest.and_then(|manifest| Some((key.open(&manifest.checkpoint).ok()?, manifest.proof()?)));
    match bridge {
        Some((same, proof)) if same == *head => {
            let root = tree.frontier.root();
            if verify_consistency((to, &root), (head.size, &head.root), &proof) {
                return Ok(to);
            }
            let what = "the events up to here are not those that the checkpoint was signed for";
            Err(found(to, what))
        }
        _ => Err(refused(format!(
            "the checkpoint is of {} events, and the export ends at position {to}: take an earlier checkpoint, or export \
             again up to there",
            head.size
        ))),
    }
}

/// The tree so far.
struct Tree {
    frontier: Frontier,
    last: Option<Timestamp>,
}

impl Tree {
    fn before(manifest: Option<&Manifest>) -> Result<Self, NotProved> {
        let Some(manifest) = manifest else { return Ok(Self { frontier: Frontier::default(), last: None }) };
        if !manifest.complete {
            return Err(refused(
                "the export holds a choice of events, or a table, which no root can be made of: export without \
                 `--types`, as `jsonl`, to prove it"
                    .to_owned(),
            ));
        }
        let frontier = manifest.tree_before();
        let frontier =
            frontier.ok_or_else(|| found(manifest.from, "the manifest has no tree before this position"))?;
        Ok(Self { frontier, last: None })
    }

    /// Takes a line in, which is to be the next event.
    fn take(&mut self, line: &[u8], head: &SignedHead) -> Result<(), NotProved> {
        let expected = self.frontier.size() + 1;
        let wrong = |what: &str| found(expected, what);
        let (canonical, leaf) = parts(line).ok_or_else(|| wrong("its line is not an event of an export"))?;
        let event: Value =
            serde_json::from_slice(canonical).map_err(|_| wrong("its line is not an event"))?;
        match event.get("position").and_then(Value::as_u64) {
            Some(position) if position == expected => {}
            Some(position) if position > expected => {
                return Err(wrong(&format!("it is missing: the next event is at position {position}")));
            }
            _ => return Err(wrong("another event stands in its place")),
        }
        let hash = leaf_hash(canonical);
        if leaf != hash {
            return Err(wrong("its leaf is not the hash of the event: one of them was changed"));
        }
        let at: Option<Timestamp> = event.get("at").and_then(Value::as_str).and_then(|at| at.parse().ok());
        let at = at.ok_or_else(|| wrong("it has no time"))?;
        if self.last.is_some_and(|before| before > at) {
            return Err(wrong("its time is before that of the event before"));
        }
        self.last = Some(at);
        self.frontier.push(hash);
        if self.frontier.size() == head.size && self.frontier.root() != head.root {
            return Err(wrong("the events up to here are not those that the checkpoint was signed for"));
        }
        Ok(())
    }
}

/// The bytes of the canonical event of a line, and the leaf beside it.
fn parts(line: &[u8]) -> Option<(&[u8], Vec<u8>)> {
    let rest = line.strip_prefix(BEGINNING.as_bytes())?;
    let mut values = Deserializer::from_slice(rest).into_iter::<Value>();
    values.next()?.ok()?;
    let canonical = rest.get(..values.byte_offset())?;
    let beside: Value = serde_json::from_slice(line).ok()?;
    let leaf = BASE64_URL_SAFE_NO_PAD.decode(beside.get("leaf")?.as_str()?).ok()?;
    Some((canonical, leaf))
}

fn found(position: u64, what: impl Into<String>) -> NotProved {
    NotProved::Found(Finding { position: Position::new(position), what: what.into() })
}

fn refused(what: String) -> NotProved {
    NotProved::Export(ExportError::Refused(what))
}

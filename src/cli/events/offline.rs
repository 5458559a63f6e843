//! `aegis events verify --export`: proves an export with a checkpoint and a key that were kept, and no database.

use std::fs;
use std::path::{Path, PathBuf};

use serde::Serialize;
use store::checkpoint::VerifierKey;

use crate::cli::failure::Failure;
use crate::cli::output::Output;
use crate::cli::progress::Progress;
use crate::export::offline::{NotProved, Proved, prove};

/// What to prove, and by what.
pub(super) struct Offline<'a> {
    pub(super) export: &'a Path,
    pub(super) checkpoint: &'a PathBuf,
    pub(super) key: &'a PathBuf,
    pub(super) json: bool,
}

#[derive(Serialize)]
struct Report {
    from: u64,
    proved: u64,
    to: u64,
    checkpoint: u64,
}

impl Offline<'_> {
    pub(super) fn run(&self, out: &mut Output) -> Result<(), Failure> {
        let key = read_key(self.key)?;
        let checkpoint = read(self.checkpoint)?;
        let mut progress = Progress::new("events");
        let proved = prove(self.export, &checkpoint, &key, &mut |position| progress.at(position, position));
        progress.finish();
        let Proved { from, proved, to, size } = proved.map_err(|error| match error {
            NotProved::Found(finding) => {
                Failure::Found(format!("the export is not what was signed: {finding}"))
            }
            NotProved::Checkpoint(_) => Failure::Found(format!("{}: {error}", self.checkpoint.display())),
            NotProved::Export(error) => Failure::because(error),
        })?;
        if self.json {
            out.json(&Report { from, proved, to, checkpoint: size })?;
        } else {
            out.line(&format!(
                "positions {from} to {proved} are what the checkpoint of {size} events was signed for"
            ))?;
            if proved < to {
                out.line(&format!(
                    "the {} events after them follow, and are proved by a later checkpoint only",
                    to - proved
                ))?;
            }
        }
        out.flush()
    }
}

/// A key that was kept.
pub(super) fn read_key(path: &Path) -> Result<VerifierKey, Failure> {
    read(path)?.parse().map_err(|error| Failure::Failed(format!("{} {error}", path.display())))
}

/// A text that was kept.
pub(super) fn read(path: &Path) -> Result<String, Failure> {
    fs::read_to_string(path).map_err(|error| Failure::Failed(format!("{}: {error}", path.display())))
}

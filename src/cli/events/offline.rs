//! `aegis events verify --export`: proves an export with a checkpoint and a key that were kept, and no database.

use std::fs;
use std::path::{Path, PathBuf};

use serde::Serialize;
use store::checkpoint::VerifierKey;

use crate::cli::error::CliError;
use crate::cli::output::Output;
use crate::cli::progress::ProgressReporter;
use crate::export::verify::{ExportVerificationError, VerifiedExport, verify_export};

/// What to prove, and by what.
pub(super) struct ExportProof<'a> {
    pub(super) export: &'a Path,
    pub(super) checkpoint: &'a PathBuf,
    pub(super) key: &'a PathBuf,
    pub(super) json: bool,
}

#[derive(Serialize)]
struct ExportProofOutput {
    from: u64,
    proved: u64,
    to: u64,
    checkpoint: u64,
}

impl ExportProof<'_> {
    pub(super) fn run(&self, out: &mut Output) -> Result<(), CliError> {
        let key = read_key(self.key)?;
        let checkpoint = read(self.checkpoint)?;
        let mut progress = ProgressReporter::new("events");
        let proved = verify_export(self.export, &checkpoint, &key, &mut |position| {
            progress.update(position, position)
        });
        progress.finish();
        let VerifiedExport { from, verified_to, to, checkpoint_size } =
            proved.map_err(|error| match error {
                ExportVerificationError::Mismatch(finding) => {
                    CliError::VerificationFailed(format!("the export is not what was signed: {finding}"))
                }
                ExportVerificationError::Checkpoint(_) => {
                    CliError::VerificationFailed(format!("{}: {error}", self.checkpoint.display()))
                }
                ExportVerificationError::Export(error) => CliError::because(error),
            })?;
        if self.json {
            out.json(&ExportProofOutput { from, proved: verified_to, to, checkpoint: checkpoint_size })?;
        } else {
            out.line(&format!(
                "positions {from} to {verified_to} are what the checkpoint of {checkpoint_size} events was signed for"
            ))?;
            if verified_to < to {
                out.line(&format!(
                    "the {} events after them follow, and are proved by a later checkpoint only",
                    to - verified_to
                ))?;
            }
        }
        out.flush()
    }
}

/// A key that was kept.
pub(super) fn read_key(path: &Path) -> Result<VerifierKey, CliError> {
    read(path)?.parse().map_err(|error| CliError::Failed(format!("{} {error}", path.display())))
}

/// A text that was kept.
pub(super) fn read(path: &Path) -> Result<String, CliError> {
    fs::read_to_string(path).map_err(|error| CliError::Failed(format!("{}: {error}", path.display())))
}

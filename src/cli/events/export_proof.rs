//! `aegis events verify --export`: verifies an export with a trusted checkpoint and a trusted key, without a
//! database.

use std::fs;
use std::path::{Path, PathBuf};

use serde::Serialize;
use store::checkpoint::VerifierKey;

use crate::cli::error::{CliError, CliResult, VerificationFailure};
use crate::cli::output::Output;
use crate::cli::progress::ProgressReporter;
use crate::export::verify::{ExportVerificationError, VerifiedExport, verify_export};

/// The files of a verification.
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
    pub(super) fn run(&self, out: &mut Output) -> CliResult {
        let key = read_key(self.key)?;
        let checkpoint = read(self.checkpoint)?;
        let mut progress = ProgressReporter::new("events");
        let mut on_progress = |position| progress.update(position, position);
        let verified = verify_export(self.export, &checkpoint, &key, &mut on_progress);
        progress.finish();
        let verified = verified.map_err(|error| match error {
            ExportVerificationError::Mismatch(finding) => VerificationFailure::Export(finding).into(),
            ExportVerificationError::Checkpoint(error) => {
                let of = format!("{}: the checkpoint", self.checkpoint.display());
                VerificationFailure::Checkpoint { of, error }.into()
            }
            ExportVerificationError::Export(error) => CliError::from(error),
        })?;
        let VerifiedExport { from, verified_to, to, checkpoint_size } = verified;
        if self.json {
            out.json(&ExportProofOutput { from, proved: verified_to, to, checkpoint: checkpoint_size })?;
        } else {
            out.line(&format!(
                "verified: positions {from} to {verified_to} match the checkpoint of {checkpoint_size} events"
            ))?;
            if verified_to < to {
                let rest = to - verified_to;
                out.line(&format!("the {rest} events after them need a later checkpoint to be verified"))?;
            }
        }
        out.flush()
    }
}

pub(super) fn read_key(path: &Path) -> Result<VerifierKey, CliError> {
    let key = read(path)?.parse();
    key.map_err(|error| CliError::VerifierKey { of: path.display().to_string(), error })
}

pub(super) fn read(path: &Path) -> Result<String, CliError> {
    fs::read_to_string(path).map_err(|error| CliError::File { path: path.to_owned(), error })
}

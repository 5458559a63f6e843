//! `aegis events export`: writes the log, or a range of it, to a file.

use std::path::PathBuf;

use base64::prelude::{BASE64_STANDARD, Engine};
use store::Position;
use store::checkpoint::SignedHead;

use crate::cli::error::{CliError, CliResult, VerificationFailure};
use crate::cli::output::Output;
use crate::cli::progress::{ProgressReporter, per_second};
use crate::cli::session::Session;
use crate::export::format::ExportFormat;
use crate::export::manifest::{MANIFEST_VERSION, Manifest, encode_hashes};
use crate::export::partial::{ExportPlan, ExportRequest, PartialExport};
use crate::export::writer::write_export;
use crate::query::AsOf;

#[derive(Debug, clap::Args)]
pub(crate) struct Arguments {
    /// The file to write, with a manifest beside it; an interrupted export is resumed
    #[arg(long, value_name = "FILE")]
    out: PathBuf,
    /// One JSON object per line, which can be verified, or CSV
    #[arg(long, value_enum, default_value_t = ExportFormat::Jsonl)]
    format: ExportFormat,
    /// Start at this position, or at the first event at or after this time (RFC 3339)
    #[arg(long, value_name = "POSITION|TIME")]
    from: Option<AsOf>,
    /// End at this position or time; default: the head of the log
    #[arg(long, value_name = "POSITION|TIME")]
    to: Option<AsOf>,
    /// Export only events of these types, comma-separated; such an export cannot be verified
    #[arg(long, value_name = "TYPES", value_delimiter = ',')]
    types: Vec<String>,
    /// Overwrite an existing file
    #[arg(long)]
    force: bool,
    /// Print the manifest as one JSON object
    #[arg(long)]
    json: bool,
}

pub(super) async fn run(arguments: &Arguments, session: &Session, out: &mut Output) -> CliResult {
    let plan = plan(arguments, session).await?;
    let mut part = PartialExport::open(&arguments.out, plan, arguments.force)?;
    if part.position() >= part.plan().from {
        let (at, to) = (part.position(), part.plan().to);
        tracing::warn!("resuming the export at position {at} of {to}; remove its `.part` file to start over");
    }
    let mut progress = ProgressReporter::new("events");
    let begun = part.count();
    let (first, last) = (part.plan().from, part.plan().to);
    let each = &mut |position| progress.update(position + 1 - first, last + 1 - first);
    let written = write_export(&session.services.store, &mut part, each).await;
    let took = progress.finish();
    written?;
    let rate = per_second(part.count() - begun, took);
    let manifest = finish(part, session).await?;
    if arguments.json {
        out.json(&manifest)?;
    } else {
        let Manifest { count, from, to, .. } = &manifest;
        let file = arguments.out.display();
        out.line(&format!("{count} events of positions {from} to {to} are in {file} ({rate} per second)"))?;
        if !manifest.complete {
            out.line(
                "this export cannot be verified against a checkpoint: only a `jsonl` export without \
                 `--types` can",
            )?;
        }
    }
    out.flush()
}

/// Determines the range. The head is read once, so that its signature covers the whole range.
async fn plan(arguments: &Arguments, session: &Session) -> Result<ExportPlan, CliError> {
    let (store, history) = (&session.services.store, &session.services.history);
    let checkpoint = store.signed_checkpoint().await?;
    let end = Position::new(signed_head(session, &checkpoint)?.size);
    let from = match arguments.from {
        None => 1,
        Some(AsOf::Position(position)) => position.get(),
        Some(AsOf::Time(time)) => store.last_before(time, Position::START, end).await?.next().get(),
    };
    let to = match arguments.to {
        None => end.get(),
        Some(to) => history.position_before(to, end).await?.get(),
    };
    if from == 0 || from > to {
        return Err(CliError::InvalidRange { from, to, head: end.get() });
    }
    let asked = ExportRequest {
        log: store.signer().origin().to_owned(),
        format: arguments.format,
        from: arguments.from.map(|from| from.to_string()),
        to: arguments.to.map(|to| to.to_string()),
        types: arguments.types.clone(),
    };
    Ok(ExportPlan { request: asked, from, to, checkpoint })
}

/// The verified tree head of a checkpoint of this log.
fn signed_head(session: &Session, checkpoint: &str) -> Result<SignedHead, CliError> {
    let key = session.verifier_key()?;
    let failure = |error| VerificationFailure::Checkpoint { of: "the head of the log".to_owned(), error };
    Ok(key.open(checkpoint).map_err(failure)?)
}

async fn finish(part: PartialExport, session: &Session) -> Result<Manifest, CliError> {
    let plan = part.plan();
    let (before, to) = (Position::new(plan.from).previous(), Position::new(plan.to));
    let head = signed_head(session, &plan.checkpoint)?;
    let proved = session.services.proofs.range(before, to, &head).await?;
    let manifest = part.finish(|plan, count, sha256| Manifest {
        version: MANIFEST_VERSION,
        log: plan.request.log.clone(),
        format: plan.request.format,
        from: plan.from,
        to: plan.to,
        types: plan.request.types.clone(),
        count,
        complete: plan.request.format == ExportFormat::Jsonl && plan.request.types.is_empty(),
        sha256,
        root: BASE64_STANDARD.encode(proved.root),
        before: BASE64_STANDARD.encode(proved.before.to_bytes()),
        checkpoint: plan.checkpoint.clone(),
        consistency: encode_hashes(&proved.consistency),
    });
    Ok(manifest?)
}

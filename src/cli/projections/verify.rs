//! `aegis projections verify`: compares the rows of a read model with the log.

use projections::verify::{self, VerifiedTable, VerifyError};
use serde::Serialize;

use crate::cli::arguments::ProjectionArg;
use crate::cli::error::{CliError, CliResult, VerificationFailure};
use crate::cli::output::Output;
use crate::cli::progress::ProgressReporter;
use crate::cli::session::Session;

#[derive(Debug, clap::Args)]
pub(crate) struct Arguments {
    /// The name of the read model
    name: ProjectionArg,
    /// The version to verify; default: the live one
    #[arg(long = "version", value_name = "VERSION")]
    number: Option<u64>,
    /// Print one JSON object
    #[arg(long)]
    json: bool,
}

#[derive(Debug, Serialize)]
struct VerificationOutput {
    table: String,
    position: u64,
    rows: u64,
    digest: String,
}

pub(super) async fn run(arguments: &Arguments, session: &Session, out: &mut Output) -> CliResult {
    let ProjectionArg(projection) = arguments.name;
    let mut progress = ProgressReporter::new("events");
    let mut on_progress = |done, total| progress.update(done, total);
    let context = &session.services.projection_context;
    let verified = verify::verify(projection, context, arguments.number, &mut on_progress).await;
    let elapsed = progress.finish();
    let VerifiedTable { table, position, rows, digest } = verified.map_err(|error| match error {
        VerifyError::Differs(difference) => {
            let difference = Box::new(difference);
            CliError::Verification(VerificationFailure::Rows { name: projection.name(), difference })
        }
        VerifyError::Store(error) => error.into(),
    })?;
    let output = VerificationOutput { table, position: position.get(), rows, digest: digest.to_string() };
    if arguments.json {
        return out.json(&output);
    }
    let VerificationOutput { table, position, rows, digest } = output;
    let seconds = elapsed.as_secs_f64();
    out.line(&format!(
        "{table}: all {rows} rows match the log at position {position} ({seconds:.1} s; digest {digest})"
    ))
}

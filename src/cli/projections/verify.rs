//! `aegis projections verify`: proves the rows of a read model against the log.

use projections::verify::{self, VerifiedTable, VerifyError};
use serde::Serialize;

use super::name::{self, ProjectionArg};
use crate::cli::error::CliError;
use crate::cli::output::Output;
use crate::cli::progress::ProgressReporter;
use crate::cli::session::Session;

#[derive(Debug, clap::Args)]
pub(in crate::cli) struct Arguments {
    /// The read model
    #[arg(value_parser = name::parser())]
    name: ProjectionArg,
    /// The version to verify; the one that is read if not given
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

pub(super) async fn run(arguments: &Arguments, session: &Session, out: &mut Output) -> Result<(), CliError> {
    let ProjectionArg(projection) = arguments.name;
    let mut progress = ProgressReporter::new("events");
    let mut each_batch = |done, all| progress.update(done, all);
    let verified =
        verify::verify(projection, &session.services.projection_context, arguments.number, &mut each_batch)
            .await;
    let took = progress.finish();
    let VerifiedTable { table, position, rows, digest } = verified.map_err(|error| match error {
        VerifyError::Differs(difference) => {
            let name = projection.name();
            CliError::VerificationFailed(format!(
                "the rows do not verify: {difference}. `aegis projections rebuild {name}` makes them anew from the log"
            ))
        }
        VerifyError::Store(error) => CliError::because(error),
    })?;
    let report = VerificationOutput { table, position: position.get(), rows, digest: digest.to_string() };
    if arguments.json {
        return out.json(&report);
    }
    let VerificationOutput { table, position, rows, digest } = report;
    let seconds = took.as_secs_f64();
    out.line(&format!(
        "{table}: all {rows} rows are what the log says at position {position} ({seconds:.1} s; digest {digest})"
    ))
}

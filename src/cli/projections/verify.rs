//! `aegis projections verify`: proves the rows of a read model against the log.

use projections::verify::{self, Verified, VerifyError};
use serde::Serialize;

use super::name::{self, Named};
use crate::cli::failure::Failure;
use crate::cli::output::Output;
use crate::cli::progress::Progress;
use crate::cli::session::Session;

#[derive(Debug, clap::Args)]
pub(in crate::cli) struct Arguments {
    /// The read model
    #[arg(value_parser = name::parser())]
    name: Named,
    /// The version to verify; the one that is read if not given
    #[arg(long = "version", value_name = "VERSION")]
    number: Option<u64>,
    /// Print one JSON object
    #[arg(long)]
    json: bool,
}

#[derive(Debug, Serialize)]
struct Report {
    table: String,
    position: u64,
    rows: u64,
    digest: String,
}

pub(super) async fn run(arguments: &Arguments, session: &Session, out: &mut Output) -> Result<(), Failure> {
    let Named(projection) = arguments.name;
    let mut progress = Progress::new("events");
    let mut each_batch = |done, all| progress.at(done, all);
    let verified = verify::verify(projection, &session.node.sources, arguments.number, &mut each_batch).await;
    let took = progress.finish();
    let Verified { table, position, rows, digest } = verified.map_err(|error| match error {
        VerifyError::Differs(difference) => {
            let name = projection.name();
            Failure::Found(format!(
                "the rows do not verify: {difference}. `aegis projections rebuild {name}` makes them anew from the log"
            ))
        }
        VerifyError::Store(error) => Failure::because(error),
    })?;
    let report = Report { table, position: position.get(), rows, digest: digest.to_string() };
    if arguments.json {
        return out.json(&report);
    }
    let Report { table, position, rows, digest } = report;
    let seconds = took.as_secs_f64();
    out.line(&format!(
        "{table}: all {rows} rows are what the log says at position {position} ({seconds:.1} s; digest {digest})"
    ))
}

//! `aegis projections skip`: the recorded decision to go on without an event.

use domain::{Reason, Skip};

use super::name::{self, Named};
use crate::cli::failure::Failure;
use crate::cli::output::Output;
use crate::cli::session::Session;
use crate::command::{self, Cause, Skipped};

#[derive(Debug, clap::Args)]
pub(in crate::cli) struct Arguments {
    /// The read model
    #[arg(value_parser = name::parser())]
    name: Named,
    /// The position of the event, as `status` names it
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..))]
    position: u64,
    /// Why; kept with the event
    #[arg(long, value_parser = Reason::parse)]
    reason: Reason,
}

pub(super) async fn run(
    arguments: Arguments,
    session: &Session,
    cause: &Cause,
    out: &mut Output,
) -> Result<(), Failure> {
    let Arguments { name: Named(projection), position, reason } = arguments;
    let skip = Skip { projection: projection.name().to_owned(), position, reason };
    let sources = &session.node.sources;
    let done = command::skip(projection, sources, &session.ambient, cause, skip).await;
    let name = projection.name();
    match done.map_err(Failure::because)? {
        Skipped { position: at, before: false } => out.line(&format!(
            "{name} goes on without the event at position {position} (decision at position {at}); once a program knows \
             the event, `aegis projections rebuild {name}` takes it in"
        )),
        Skipped { position: at, before: true } => out.line(&format!(
            "that was decided before, at position {at}: {name} goes on without the event at position {position}"
        )),
    }
}

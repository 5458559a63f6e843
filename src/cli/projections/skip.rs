//! `aegis projections skip`: the recorded decision to go on without an event.

use domain::{Reason, Skip};

use super::name::{self, ProjectionArg};
use crate::cli::error::CliError;
use crate::cli::output::Output;
use crate::cli::session::Session;
use crate::command::{self, CommandContext, RecordedSkip};

#[derive(Debug, clap::Args)]
pub(in crate::cli) struct Arguments {
    /// The read model
    #[arg(value_parser = name::parser())]
    name: ProjectionArg,
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
    context: &CommandContext,
    out: &mut Output,
) -> Result<(), CliError> {
    let Arguments { name: ProjectionArg(projection), position, reason } = arguments;
    let skip = Skip { projection: projection.name().to_owned(), position, reason };
    let sources = &session.services.projection_context;
    let done = command::skip(projection, sources, &session.env, context, skip).await;
    let name = projection.name();
    match done.map_err(CliError::because)? {
        RecordedSkip { position: at, already_recorded: false } => out.line(&format!(
            "{name} goes on without the event at position {position} (decision at position {at}); once a program knows \
             the event, `aegis projections rebuild {name}` takes it in"
        )),
        RecordedSkip { position: at, already_recorded: true } => out.line(&format!(
            "that was decided before, at position {at}: {name} goes on without the event at position {position}"
        )),
    }
}

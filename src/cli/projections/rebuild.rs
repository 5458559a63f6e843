//! `aegis projections rebuild`: empties a read model and makes it anew from the log. Beside a running service both
//! project; the checkpoint decides batch by batch whose work counts.

use std::sync::Arc;

use clap::builder::PossibleValuesParser;
use projections::Projector;

use crate::cli::failure::Failure;
use crate::cli::output::Output;
use crate::cli::progress::Progress;
use crate::cli::session::Session;

#[derive(Debug, clap::Args)]
pub(in crate::cli) struct Arguments {
    /// The read model
    #[arg(value_parser = PossibleValuesParser::new(projections::all().map(|projection| projection.name())))]
    name: String,
}

pub(super) async fn run(arguments: &Arguments, session: &Session, out: &mut Output) -> Result<(), Failure> {
    let Some(projection) =
        projections::all().into_iter().find(|projection| projection.name() == arguments.name)
    else {
        return Err(Failure::Failed(format!("there is no projection `{}`", arguments.name)));
    };
    let rows = Arc::clone(&session.node.rows);
    let mut progress = Progress::new("events");
    rows.reset(projection.table()).await?;
    let projector = Projector::new(projection, session.node.store.clone(), rows);
    let reached = projector.catch_up(|position, head| progress.at(position.get(), head.get())).await?;
    let took = progress.finish();
    out.line(&format!("rebuilt {} from {reached} events in {:.1} s", projection.name(), took.as_secs_f64()))
}

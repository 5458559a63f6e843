//! `aegis projections rebuild`: makes a read model anew from the log, beside the one that is read, and puts it in its
//! place once it is as far. A running service serves the old rows until then.

use std::sync::Arc;

use clap::builder::PossibleValuesParser;
use store::Position;

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
    let mut each_batch = |position: Position, head: Position| progress.at(position.get(), head.get());
    let rebuilt = projections::rebuild(projection, session.node.store.clone(), rows, &mut each_batch).await;
    let reached = rebuilt.map_err(Failure::because)?;
    let took = progress.finish();
    out.line(&format!("rebuilt {} from {reached} events in {:.1} s", projection.name(), took.as_secs_f64()))
}

//! `aegis events list`: the events of the log in order.

use clap::builder::PossibleValuesParser;
use domain::{SystemEvent, UserEvent};
use store::{EventQuery, Position, StreamId};

use super::{EventPrinter, PAGE, stream};
use crate::cli::error::CliError;
use crate::cli::output::Output;
use crate::cli::session::Session;

#[derive(Debug, clap::Args)]
pub(in crate::cli) struct Arguments {
    /// Only events after this position
    #[arg(long, value_name = "POSITION", default_value_t = 0)]
    after: u64,
    /// At most so many events
    #[arg(long, value_name = "COUNT")]
    limit: Option<usize>,
    /// Only events of this type; may be given several times
    #[arg(long = "type", value_name = "TYPE", value_parser = types())]
    types: Vec<String>,
    /// Only events of this stream, such as `system` or `user-…`, or of the user with this id
    #[arg(long, value_name = "STREAM|USER-ID", value_parser = stream)]
    stream: Option<StreamId>,
    /// Only events that this actor caused, such as `user-…`, `operator:…` or `system`
    #[arg(long)]
    actor: Option<String>,
    /// Print one JSON object per line, in the form of a `CloudEvent`
    #[arg(long)]
    json: bool,
}

fn types() -> PossibleValuesParser {
    PossibleValuesParser::new(UserEvent::TYPES.iter().chain(SystemEvent::TYPES).copied())
}

pub(super) async fn run(arguments: &Arguments, session: &Session, out: &mut Output) -> Result<(), CliError> {
    let mut lines = EventPrinter::new(arguments.json, session);
    let mut left = arguments.limit.unwrap_or(usize::MAX);
    // What is appended while this runs is left out: a busy log would have no end.
    let head = session.services.store.head().await?.position;
    let mut query = EventQuery {
        after: Position::new(arguments.after),
        until: Some(head),
        types: arguments.types.clone(),
        stream: arguments.stream.clone(),
        actor: arguments.actor.clone(),
        ..EventQuery::default()
    };
    while left > 0 && query.after < head {
        query.limit = left.min(PAGE);
        let page = session.services.store.page(&query).await?;
        lines.print(&page.events, out)?;
        left -= page.events.len();
        query.after = page.next;
    }
    Ok(())
}

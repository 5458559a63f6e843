//! Arguments that several commands share.

use clap::builder::{PossibleValuesParser, TypedValueParser, ValueParser, ValueParserFactory};
use domain::{UserId, known_event_types};
use projections::Projection;
use store::StreamId;

/// A read model, by name.
#[derive(Clone, Copy)]
pub(super) struct ProjectionArg(pub(super) &'static dyn Projection);

impl std::fmt::Debug for ProjectionArg {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        out.write_str(self.0.name())
    }
}

impl ValueParserFactory for ProjectionArg {
    type Parser = ValueParser;

    fn value_parser() -> ValueParser {
        let names = PossibleValuesParser::new(projections::all().map(Projection::name));
        let find = |name: String| projections::by_name(&name).map(ProjectionArg).ok_or("unknown read model");
        names.try_map(find).into()
    }
}

/// One of these names, parsed.
pub(super) fn one_of<T>(names: impl IntoIterator<Item = &'static str>) -> ValueParser
where
    T: std::str::FromStr + Clone + Send + Sync + 'static,
    T::Err: std::error::Error + Send + Sync + 'static,
{
    PossibleValuesParser::new(names).try_map(|name| name.parse::<T>()).into()
}

/// The name of an event type, previous names of renamed types included.
pub(super) fn event_type() -> PossibleValuesParser {
    PossibleValuesParser::new(known_event_types())
}

/// The name of a stream, or the id of a user.
pub(super) fn parse_stream(text: &str) -> Result<StreamId, String> {
    let name = UserId::parse(text).map_or_else(|_| text.to_owned(), |id| id.stream());
    StreamId::new(name).map_err(|error| error.to_string())
}

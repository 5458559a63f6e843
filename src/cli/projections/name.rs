//! The name of a read model, as an argument.

use clap::builder::{PossibleValuesParser, TypedValueParser, ValueParser};
use projections::Projection;

#[derive(Clone, Copy)]
pub(super) struct ProjectionArg(pub(super) &'static dyn Projection);

impl std::fmt::Debug for ProjectionArg {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        out.write_str(self.0.name())
    }
}

pub(super) fn parser() -> ValueParser {
    let names = PossibleValuesParser::new(projections::all().map(Projection::name));
    let find = |name: String| projections::by_name(&name).map(ProjectionArg).ok_or("unknown read model");
    names.try_map(find).into()
}

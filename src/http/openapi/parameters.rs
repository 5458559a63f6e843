//! How extractors document the parameters that they read, and the answers that they may give.

use std::collections::BTreeMap;

use utoipa::openapi::path::{Parameter, ParameterBuilder, ParameterIn};
use utoipa::openapi::schema::Schema;
use utoipa::openapi::{RefOr, Required, Response, ResponseBuilder};

use super::builders::integer;

pub(crate) const MIN_POSITION: &str = "Aegis-Min-Position";

/// The header [`MIN_POSITION`].
pub(crate) fn min_position() -> Parameter {
    let description = "The position of the log that the answer has to reflect at least (read-your-writes)";
    header_parameter(MIN_POSITION, integer(description))
}

pub(crate) fn path_parameter(name: &str, schema: impl Into<RefOr<Schema>>) -> Parameter {
    parameter(name, ParameterIn::Path, schema).required(Required::True).build()
}

/// An optional header.
pub(crate) fn header_parameter(name: &str, schema: impl Into<RefOr<Schema>>) -> Parameter {
    parameter(name, ParameterIn::Header, schema).required(Required::False).build()
}

/// An optional query parameter.
pub(crate) fn query_parameter(name: &str, schema: impl Into<RefOr<Schema>>) -> Parameter {
    parameter(name, ParameterIn::Query, schema).required(Required::False).build()
}

/// The description of the schema becomes that of the parameter.
fn parameter(name: &str, place: ParameterIn, schema: impl Into<RefOr<Schema>>) -> ParameterBuilder {
    let mut schema = schema.into();
    let description = match &mut schema {
        RefOr::T(Schema::Object(schema)) => schema.description.take(),
        RefOr::T(Schema::Array(schema)) => schema.description.take(),
        RefOr::T(Schema::OneOf(schema)) => schema.description.take(),
        RefOr::T(_) | RefOr::Ref(_) => None,
    };
    ParameterBuilder::new().name(name).parameter_in(place).description(description).schema(Some(schema))
}

pub(crate) type Responses = BTreeMap<String, RefOr<Response>>;

/// Error responses by status; `complete` adds their body.
pub(crate) fn error_responses<const N: usize>(errors: [(&str, &str); N]) -> Responses {
    let response = |(status, description): (&str, &str)| {
        (status.to_owned(), RefOr::T(ResponseBuilder::new().description(description).build()))
    };
    errors.map(response).into()
}

/// Documents extractors: the parameters that each reads, and the error responses that only it may answer with.
/// Those that all operations of a kind have in common are in `common_answers`.
macro_rules! document_extractors {
    ($($extractor:ty: $([$($parameter:expr),+])? $($status:literal $description:literal)*;)*) => {$(
        $(impl utoipa::IntoParams for $extractor {
            fn into_params(
                _: impl Fn() -> Option<utoipa::openapi::path::ParameterIn>,
            ) -> Vec<utoipa::openapi::path::Parameter> {
                vec![$($parameter),+]
            }
        })?

        impl utoipa::IntoResponses for $extractor {
            fn responses() -> crate::http::openapi::parameters::Responses {
                crate::http::openapi::parameters::error_responses([$(($status, $description)),*])
            }
        }
    )*};
}
pub(crate) use document_extractors;

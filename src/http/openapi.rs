//! The OpenAPI 3.1 document: its general part, and the building blocks with which extractors document
//! themselves.

use std::collections::BTreeMap;

use utoipa::openapi::path::{Operation, Parameter, ParameterBuilder, ParameterIn, PathItem};
use utoipa::openapi::schema::{KnownFormat, ObjectBuilder, Schema, SchemaFormat, SchemaType, Type};
use utoipa::openapi::security::{Flow, OAuth2, Password, Scopes, SecurityRequirement, SecurityScheme};
use utoipa::openapi::{
    Components, ContentBuilder, InfoBuilder, Ref, RefOr, Required, Response, ResponseBuilder,
};
use utoipa::{OpenApi, ToSchema};

use super::api_error::{ErrorBody, ValidationError};
use crate::config::HttpSettings;

const SECURITY_SCHEME: &str = "OAuth2PasswordBearer";

#[derive(OpenApi)]
#[openapi(
    tags(
        (name = "service", description = "The service itself"),
        (name = "auth", description = "Authentication"),
        (name = "users", description = "Accounts"),
        (name = "events", description = "The event log, for auditors and subscribers"),
        (name = "webhooks", description = "Events delivered to webhook endpoints"),
        (name = "log", description = "Proofs that the event log was not edited"),
        (name = "projections", description = "Read models and their versions"),
    ),
)]
struct Document;

/// The path of the document.
pub(super) fn path(settings: &HttpSettings) -> String {
    settings.path("/openapi.json")
}

/// The document without any route.
pub(super) fn document(settings: &HttpSettings) -> utoipa::openapi::OpenApi {
    let mut document = Document::openapi();
    document.info = InfoBuilder::new()
        .title(&settings.project_name)
        .version(env!("CARGO_PKG_VERSION"))
        .description(Some(
            "Sign-up, login, and an event log of both that can be replayed, audited and subscribed to.",
        ))
        .build();
    let login = Flow::Password(Password::new(settings.path("/auth/login/access-token"), Scopes::new()));
    let components = document.components.get_or_insert_with(Components::new);
    components.add_security_scheme(SECURITY_SCHEME, SecurityScheme::OAuth2(OAuth2::new([login])));
    let mut schemas = schemas_of::<ErrorBody<'_, str>>();
    schemas.extend(schemas_of::<ErrorBody<'_, [ValidationError]>>());
    components.schemas.extend(schemas);
    document
}

/// The schema of a type, and of those that it refers to.
fn schemas_of<T: ToSchema>() -> Vec<(String, RefOr<Schema>)> {
    let mut schemas = vec![(T::name().into_owned(), T::schema())];
    T::schemas(&mut schemas);
    schemas
}

pub(super) fn path_parameter(name: &str, description: &str) -> Parameter {
    let string = ObjectBuilder::new().schema_type(Type::String);
    parameter(name, description, ParameterIn::Path, string).required(Required::True).build()
}

/// An optional header with a string, or with a position of the log if `value` is [`Type::Integer`].
pub(super) fn header_parameter(name: &str, value: Type, description: &str) -> Parameter {
    let is_position = value == Type::Integer;
    let schema = ObjectBuilder::new().schema_type(SchemaType::from_iter([value, Type::Null]));
    let schema = if is_position {
        schema.format(Some(SchemaFormat::KnownFormat(KnownFormat::Int64))).minimum(Some(0))
    } else {
        schema
    };
    parameter(name, description, ParameterIn::Header, schema).required(Required::False).build()
}

fn parameter(name: &str, description: &str, place: ParameterIn, schema: ObjectBuilder) -> ParameterBuilder {
    ParameterBuilder::new().name(name).parameter_in(place).description(Some(description)).schema(Some(schema))
}

pub(super) type Responses = BTreeMap<String, RefOr<Response>>;

/// Error responses by status; [`complete`] adds their body.
pub(super) fn error_responses<const N: usize>(errors: [(&str, &str); N]) -> Responses {
    let response = |(status, description): (&str, &str)| {
        (status.to_owned(), RefOr::T(ResponseBuilder::new().description(description).build()))
    };
    errors.map(response).into()
}

/// Documents extractors: the parameter that each reads, and the error responses that it may answer with.
macro_rules! document_extractors {
    ($($extractor:ty: $([$parameter:expr])? $($status:literal $description:literal)*;)*) => {$(
        $(impl utoipa::IntoParams for $extractor {
            fn into_params(
                _: impl Fn() -> Option<utoipa::openapi::path::ParameterIn>,
            ) -> Vec<utoipa::openapi::path::Parameter> {
                vec![$parameter]
            }
        })?

        impl utoipa::IntoResponses for $extractor {
            fn responses() -> crate::http::openapi::Responses {
                crate::http::openapi::error_responses([$(($status, $description)),*])
            }
        }
    )*};
}
pub(super) use document_extractors;

/// Completes the document of all routes: OpenAPI has no notation for axum's wildcards.
pub(super) fn complete(document: &mut utoipa::openapi::OpenApi, prefix: &str) {
    let tags: Vec<_> = document.tags.iter().flatten().map(|tag| tag.name.clone()).collect();
    for (path, mut item) in std::mem::take(&mut document.paths.paths) {
        let segment = path.strip_prefix(prefix).and_then(|path| path.split('/').nth(1)).unwrap_or_default();
        complete_operations(
            &mut item,
            if tags.iter().any(|tag| tag == segment) { segment } else { "service" },
        );
        document.paths.paths.insert(path.replace("{*", "{"), item);
    }
}

/// Adds what the operations of a path have in common: the tag, the security scheme if they require a token,
/// and the body of error responses.
fn complete_operations(item: &mut PathItem, tag: &str) {
    let operations = [&mut item.get, &mut item.put, &mut item.post, &mut item.delete];
    for Operation { tags, security, responses, .. } in operations.into_iter().flatten() {
        *tags = Some(vec![tag.to_owned()]);
        if responses.responses.contains_key("401") {
            let token = || vec![SecurityRequirement::new(SECURITY_SCHEME, [""; 0])];
            security.get_or_insert_with(token);
        }
        for (status, response) in &mut responses.responses {
            if let RefOr::T(response) = response
                && status.starts_with(['4', '5'])
                && response.content.is_empty()
            {
                let name = if status == "422" { "ValidationError" } else { "Error" };
                let content = ContentBuilder::new().schema(Some(Ref::from_schema_name(name))).build();
                response.content.insert("application/json".to_owned(), RefOr::T(content));
            }
        }
    }
}

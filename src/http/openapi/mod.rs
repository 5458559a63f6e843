//! The OpenAPI 3.1 document: its general part, and what its operations have in common. Handlers and extractors
//! document themselves, next to their code.

pub(super) mod builders;
mod common_answers;
pub(super) mod parameters;

use utoipa::OpenApi;
use utoipa::openapi::path::{Operation, Parameter, ParameterIn, PathItem};
use utoipa::openapi::request_body::RequestBody;
use utoipa::openapi::schema::{KnownFormat, Object, OneOf, Schema, SchemaFormat};
use utoipa::openapi::security::{Flow, OAuth2, Password, Scopes, SecurityRequirement, SecurityScheme};
use utoipa::openapi::{Components, Content, InfoBuilder, RefOr};

use self::common_answers::{Feature, add_common_answers, add_shared_headers, features};
use self::parameters::{MIN_POSITION, min_position};
use crate::config::HttpSettings;

const SECURITY_SCHEME: &str = "OAuth2PasswordBearer";
/// The schemas of bodies with positions and versions.
const REQUEST_BODIES: [&str; 5] = ["NewWebhook", "Replay", "Rollback", "DropVersion", "Skip"];

/// The schemas and fields of passwords to be set.
const NEW_PASSWORDS: [(&str, &str); 4] = [
    ("SignUp", "password"),
    ("PasswordChange", "new_password"),
    ("NewUser", "password"),
    ("PasswordReset", "new_password"),
];

#[derive(OpenApi)]
#[openapi(
    tags(
        (name = "service", description = "The service itself"),
        (name = "auth", description = "Authentication"),
        (name = "users", description = "Accounts"),
        (name = "events", description = "The event log, for auditors and subscribers"),
        (name = "webhooks", description = "Events delivered to webhook endpoints"),
        (name = "tokens", description = "Machine tokens"),
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
pub(super) fn document(
    settings: &HttpSettings,
    errors: Vec<(String, RefOr<Schema>)>,
) -> utoipa::openapi::OpenApi {
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
    components.schemas.extend(errors);
    add_shared_headers(components);
    document
}

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
    let Some(components) = &mut document.components else { return };
    for name in REQUEST_BODIES {
        components.schemas.entry(name.to_owned()).and_modify(bound);
    }
}

/// The minimum length of a new password is a setting.
pub(super) fn set_min_password_length(document: &mut utoipa::openapi::OpenApi, min_length: usize) {
    let Some(components) = &mut document.components else { return };
    for (body, field) in NEW_PASSWORDS {
        if let Some(RefOr::T(Schema::Object(body))) = components.schemas.get_mut(body)
            && let Some(RefOr::T(Schema::Object(password))) = body.properties.get_mut(field)
        {
            password.min_length = Some(min_length);
        }
    }
}

/// Adds what the operations of a path have in common.
fn complete_operations(item: &mut PathItem, tag: &str) {
    let PathItem { get, put, post, patch, delete, .. } = item;
    let operations = [("get", get), ("put", put), ("post", post), ("patch", patch), ("delete", delete)];
    for (method, operation) in operations {
        let Some(operation) = operation else { continue };
        operation.tags = Some(vec![tag.to_owned()]);
        let features = features(method, operation);
        if features.contains(&Feature::Token) {
            // Without a token nothing is looked up.
            if operation.security.is_none() {
                operation.security = Some(vec![SecurityRequirement::new(SECURITY_SCHEME, [""; 0])]);
                add_min_position(operation);
            }
        }
        for parameter in operation.parameters.iter_mut().flatten() {
            if let RefOr::T(Parameter { schema: Some(schema), .. }) = parameter {
                bound(schema);
            }
        }
        if let Some(RefOr::T(body)) = &mut operation.request_body {
            leave_out_null(body);
        }
        add_common_answers(operation, &features);
    }
}

/// Every request with a token may name the position of the log at which its user is looked up.
fn add_min_position(operation: &mut Operation) {
    let parameters = operation.parameters.get_or_insert_default();
    let is_min_position = |parameter: &RefOr<Parameter>| match parameter {
        RefOr::T(Parameter { name, parameter_in, .. }) => {
            *parameter_in == ParameterIn::Header && name == MIN_POSITION
        }
        RefOr::Ref(_) => false,
    };
    if !parameters.iter().any(is_min_position) {
        parameters.push(RefOr::T(min_position()));
    }
}

/// An optional body may also be null, but generated clients that know this cannot leave it out.
fn leave_out_null(body: &mut RequestBody) {
    for content in body.content.values_mut() {
        if let RefOr::T(Content { schema: Some(schema), .. }) = content
            && let RefOr::T(Schema::OneOf(OneOf { items, .. })) = schema
            && let Some(reference) = items.iter().find(|item| matches!(item, RefOr::Ref(_)))
        {
            *schema = reference.clone();
        }
    }
}

/// No integer that is sent may exceed what the databases can store.
fn bound(schema: &mut RefOr<Schema>) {
    match schema {
        RefOr::T(Schema::Object(Object { maximum, format, properties, .. })) => {
            if matches!(format, Some(SchemaFormat::KnownFormat(KnownFormat::Int64))) {
                maximum.get_or_insert(i64::MAX.into());
            }
            properties.values_mut().for_each(bound);
        }
        RefOr::T(Schema::OneOf(either)) => either.items.iter_mut().for_each(bound),
        RefOr::T(_) | RefOr::Ref(_) => {}
    }
}

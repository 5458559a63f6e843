//! Extractors: parse and validate the parts of a request into types that hold only valid values: bodies
//! (`body`, `field_reader`, `form`), parameters (`query`, `path`), headers (`headers`) and
//! the caller and their authority (`caller`). They are documented here, for the OpenAPI document.

mod body;
mod caller;
mod documented_query;
mod field_reader;
mod form;
mod headers;
mod json;
mod json_syntax;
mod path;
mod query;

use utoipa::openapi::schema::Type;

use super::openapi::{document_extractors, header_parameter, path_parameter};

pub(crate) use body::{FromFields, JsonBody, NoBody, OptionalJsonBody, read_body};
pub(crate) use caller::{
    Admin, Auditor, CurrentUser, EventReader, MetricsReader, Operator, StatsReader, WebhookOwner,
};
pub(crate) use documented_query::{DocumentedParameters, DocumentedQuery};
pub(crate) use field_reader::{FieldReader, redact_secrets};
pub(crate) use form::{Form, FormValue};
pub(crate) use headers::MinPosition;
pub(crate) use json::parse as parse_json;
pub(crate) use path::{PositionPath, ProjectionPath, RolePath, UserPath, WebhookPath, param};
pub(crate) use query::{MAX_POSITION, QueryParams, position};

document_extractors! {
    CurrentUser: "401" "No bearer token" "403" "`invalid_token`, `inactive_user` or `token_revoked`";
    Admin: "401" "No bearer token" "403" "An invalid token, or not an administrator";
    Auditor: "401" "No bearer token" "403" "An invalid token, or neither administrator nor auditor";
    Operator: "401" "No bearer token" "403" "An invalid token, or neither operator nor administrator";
    WebhookOwner: "401" "No bearer token" "403" "An invalid token, or neither subscriber nor administrator";
    StatsReader:
        "401" "No bearer token" "403" "An invalid token, or neither administrator, operator nor auditor";
    EventReader: "401" "No bearer token" "403" "An invalid token, or no role that may read events";
    UserPath: [path_parameter("id", "The user's id")] "404" "No such user";
    WebhookPath: [path_parameter("id", "The webhook's id")];
    RolePath:
        [path_parameter("role", "`admin`, `auditor`, `operator` or `subscriber`")] "422" "No such role";
    ProjectionPath:
        [path_parameter("name", "The name of the read model, such as `users`")] "404" "No such read model";
    MinPosition: [header_parameter(
        "Aegis-Min-Position", Type::Integer, "The position of the log that the answer has to reflect at least"
    )];
}

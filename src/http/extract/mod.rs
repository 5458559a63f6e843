//! Extractors: parse and validate the parts of a request into types that hold only valid values: bodies
//! (`body`, `field_reader`, `form`), parameters (`query`, `path`), headers (`headers`, `prefer`) and
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
mod prefer;
mod query;

use domain::{Role, known_event_types};
use utoipa::openapi::schema::ArrayBuilder;

use super::openapi::builders::{integer, one_of, string};
use super::openapi::parameters::{document_extractors, min_position, path_parameter, query_parameter};

pub(crate) use body::{FromFields, JsonBody, NoBody, OptionalJsonBody, read_body};
pub(crate) use caller::{
    Admin, Auditor, Caller, CurrentUser, EventReader, Introspector, LogoutCaller, MetricsReader, Operator,
    StatsReader, WebhookOwner, load_unknown_key,
};
pub(crate) use documented_query::{DocumentedParameters, DocumentedQuery};
pub(crate) use field_reader::{FieldReader, redact_secrets};
pub(crate) use form::{Form, FormValue};
pub(crate) use headers::MinPosition;
pub(crate) use json::parse as parse_json;
pub(crate) use path::{
    PositionPath, ProjectionPath, RolePath, SessionPath, TokenPath, UserPath, WebhookPath, param,
};
pub(crate) use prefer::{Prefer, REPRESENTATION_APPLIED};
pub(crate) use query::{MAX_POSITION, QueryParams, position};

const USER_ID_PATTERN: &str = "^([0-9a-fA-F]{8}(-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}|[0-9a-fA-F]{24})$";
pub(crate) const UUID_PATTERN: &str = "^[0-9a-fA-F]{8}(-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}$";

/// Documents the query parameter `limit`, from 1 to `MAX`.
pub(crate) struct Limit<const MAX: u64>;

/// Documents the query parameter `types`.
pub(crate) struct EventTypes;

document_extractors! {
    CurrentUser: "401" "" "403" "`invalid_token`, `inactive_user` or `token_revoked`; `user_required` for a machine token";
    LogoutCaller: "401" "" "403" "`invalid_token`";
    Admin: "401" "" "403" "`forbidden`: not an administrator";
    Auditor: "401" "" "403" "`forbidden`: neither administrator nor auditor";
    Operator: "401" "" "403" "`forbidden`: neither operator nor administrator";
    WebhookOwner: "401" "" "403" "`forbidden`: neither subscriber nor administrator";
    Introspector: "401" "`not_authenticated`, with `error` `invalid_client`: no valid token of the client" "403" "`forbidden`: neither the role `service` nor an administrator";
    StatsReader: "401" "" "403" "`forbidden`: neither administrator, operator nor auditor";
    EventReader: "401" "" "403" "`forbidden`: no role that may read events";
    DocumentedQuery: "422" "Unknown query parameters";
    UserPath:
        [path_parameter("id", string("The user's id").pattern(Some(USER_ID_PATTERN)))] "404" "No such user";
    SessionPath: [path_parameter("id", string("The session's id").pattern(Some(UUID_PATTERN)))];
    WebhookPath: [path_parameter("id", string("The webhook's id").pattern(Some(UUID_PATTERN)))];
    TokenPath: [path_parameter("id", string("The token's id").pattern(Some(UUID_PATTERN)))] "404" "No such token";
    RolePath: [path_parameter("role", one_of(Role::ALL.map(Role::as_str), "The role"))] "422" "No such role";
    ProjectionPath: [path_parameter("name", one_of(read_models(), "The read model"))] "404" "No such read model";
    PositionPath: [path_parameter("position", integer("A position of the log"))] "422" "Not a position";
    MinPosition: [min_position()];
    EventTypes: [query_parameter("types", event_types("Only events of these types; a value may also be a comma-separated list"))];
}

impl<const MAX: u64> utoipa::IntoParams for Limit<MAX> {
    fn into_params(
        _: impl Fn() -> Option<utoipa::openapi::path::ParameterIn>,
    ) -> Vec<utoipa::openapi::path::Parameter> {
        let limit =
            integer("The largest number of entries, 100 by default").minimum(Some(1)).maximum(Some(MAX));
        vec![query_parameter("limit", limit)]
    }
}

fn read_models() -> impl Iterator<Item = &'static str> {
    projections::all().into_iter().map(projections::Projection::name)
}

/// A list of event types.
pub(crate) fn event_types(description: &str) -> ArrayBuilder {
    let known = one_of(known_event_types(), "A type of events");
    ArrayBuilder::new().items(known).description(Some(description))
}

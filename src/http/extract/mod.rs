//! Extractors: parse and validate the parts of a request into types that hold only valid values: bodies
//! (`body`, `field_reader`, `form`), parameters (`query`, `path`), headers (`if_match`, `min_position`) and
//! authority (`caller`, `role`). They also document their parameters and error responses in the OpenAPI
//! document.

mod body;
mod caller;
mod field_reader;
mod form;
mod if_match;
mod json;
mod json_syntax;
mod min_position;
mod path;
mod query;
mod role;

pub(crate) use body::{FromFields, JsonBody, NoBody, OptionalJsonBody, read_body};
pub(crate) use caller::CurrentUser;
pub(crate) use field_reader::FieldReader;
pub(crate) use form::{Form, FormValue};
pub(crate) use if_match::IfMatch;
pub(crate) use min_position::MinPosition;
pub(crate) use path::{ProjectionPath, RolePath, UserPath, WebhookPath, param};
pub(crate) use query::{MAX_POSITION, QueryParams, position};
pub(crate) use role::{Admin, Auditor, EventReader, MetricsReader, Operator, StatsReader, WebhookOwner};

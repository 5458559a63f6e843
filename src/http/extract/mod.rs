//! What a request has to bring, checked once and handed to handlers as types that cannot be wrong: bodies
//! (`body`, `fields`, `form`), parameters (`query`, `path`), headers (`if_match`, `min_position`,
//! `once`, `request_id`), and authority (`caller`, `role`).

mod body;
mod caller;
mod field_reader;
mod form;
mod idempotency_key;
mod if_match;
mod json;
mod json_syntax;
mod min_position;
mod path;
mod query;
mod request_id;
mod role;

pub(crate) use body::{FromFields, JsonBody, NoBody, OptionalJsonBody, read_body};
pub(crate) use caller::CurrentUser;
pub(crate) use field_reader::FieldReader;
pub(crate) use form::{Form, FormValue};
pub(crate) use idempotency_key::{Idempotent, WriteAttempt};
pub(crate) use if_match::IfMatch;
pub(crate) use min_position::MinPosition;
pub(crate) use path::{ProjectionPath, RolePath, UserPath, WebhookPath, param};
pub(crate) use query::{MAX_POSITION, QueryParams, position};
pub(crate) use request_id::{RequestId, RequestIds};
pub(crate) use role::{Admin, Auditor, EventReader, MetricsReader, Operator, StatsReader, WebhookOwner};

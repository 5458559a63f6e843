//! What a request has to bring, checked once and handed to handlers as types that cannot be wrong: bodies
//! (`body`, `fields`, `form`), parameters (`query`, `path`), headers (`if_match`, `min_position`,
//! `once`, `request_id`), and authority (`caller`, `role`).

mod body;
mod caller;
mod fields;
mod form;
mod if_match;
mod json;
mod json_fault;
mod min_position;
mod once;
mod path;
mod query;
mod request_id;
mod role;

pub(crate) use body::{MaybeValid, NoBody, Valid, Validated, read_body};
pub(crate) use caller::CurrentUser;
pub(crate) use fields::Fields;
pub(crate) use form::{Form, FormValue};
pub(crate) use if_match::IfMatch;
pub(crate) use min_position::MinPosition;
pub(crate) use once::{Once, Sent};
pub(crate) use path::{ProjectionPath, RolePath, UserPath, WebhookPath, param};
pub(crate) use query::{MAX_POSITION, Params, position};
pub(crate) use request_id::{RequestId, RequestIds};
pub(crate) use role::{Admin, Auditor, EventReader, MetricsReader, Operator, StatsReader, Subscriber};

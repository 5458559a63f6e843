//! The entries of a 422. The messages are those of Pydantic 2, because frontends display them.

use serde::{Serialize, Serializer};
use serde_json::{Value, json};

use crate::crypto::WeakPassword;

/// An invalid field, parameter or header.
#[derive(Clone, Serialize)]
#[cfg_attr(test, derive(Debug))]
pub(crate) struct ValidationError {
    /// The kind of error.
    #[serde(rename = "type")]
    kind: &'static str,
    loc: Location,
    /// A message for people.
    msg: String,
    /// The invalid value, without passwords.
    input: Value,
    /// The values that `msg` mentions.
    #[serde(skip_serializing_if = "Option::is_none")]
    ctx: Option<Box<Value>>,
}

/// A location as it is shown.
#[derive(Clone, Serialize)]
#[serde(untagged)]
#[cfg_attr(test, derive(Debug))]
enum Location {
    Known(Loc),
    /// A query parameter that the client has named.
    UnknownQuery(&'static str, String),
}

/// The location of an error in the request.
#[derive(Clone, Copy)]
#[cfg_attr(test, derive(Debug))]
pub(crate) enum Loc {
    /// The body as a whole.
    Body,
    /// An offset in the text of the body, in characters.
    Offset(usize),
    Field(&'static str),
    Query(&'static str),
    Header(&'static str),
    Path(&'static str),
}

impl Serialize for Loc {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::Body => ("body",).serialize(serializer),
            Self::Offset(offset) => ("body", offset).serialize(serializer),
            Self::Field(name) => ("body", name).serialize(serializer),
            Self::Query(name) => ("query", name).serialize(serializer),
            Self::Header(name) => ("header", name).serialize(serializer),
            Self::Path(name) => ("path", name).serialize(serializer),
        }
    }
}

impl ValidationError {
    fn new(kind: &'static str, loc: Loc, msg: impl Into<String>, input: Value) -> Self {
        Self { kind, loc: Location::Known(loc), msg: msg.into(), input, ctx: None }
    }

    fn with_ctx(self, ctx: Value) -> Self {
        Self { ctx: Some(Box::new(ctx)), ..self }
    }

    /// `input` is the object that lacks the field.
    pub(crate) fn missing(loc: Loc, input: Value) -> Self {
        Self::new("missing", loc, "Field required", input)
    }

    pub(crate) fn not_a_string(loc: Loc, input: Value) -> Self {
        Self::new("string_type", loc, "Input should be a valid string", input)
    }

    pub(crate) fn invalid_email(loc: Loc, reason: &str, input: Value) -> Self {
        let msg = format!("value is not a valid email address: {reason}");
        Self::new("value_error", loc, msg, input).with_ctx(json!({ "reason": reason }))
    }

    pub(crate) fn invalid_username(loc: Loc, reason: &str, input: Value) -> Self {
        let msg = format!("value is not a valid username: {reason}");
        Self::new("value_error", loc, msg, input).with_ctx(json!({ "reason": reason }))
    }

    /// A new password that is too easy to guess, which is not echoed.
    pub(crate) fn weak_password(loc: Loc, weak: &WeakPassword) -> Self {
        Self::new("value_error", loc, weak.to_string(), Value::Null)
            .with_ctx(json!({ "reason": weak.reason }))
    }

    pub(crate) fn invalid_url(loc: Loc, reason: &str, input: Value) -> Self {
        let msg = format!("value is not a valid webhook address: {reason}");
        Self::new("value_error", loc, msg, input).with_ctx(json!({ "reason": reason }))
    }

    pub(crate) fn not_a_list(loc: Loc, input: Value) -> Self {
        Self::new("list_type", loc, "Input should be a valid list", input)
    }

    pub(crate) fn empty_list(loc: Loc) -> Self {
        Self::new("too_short", loc, "List should have at least 1 item", json!([]))
            .with_ctx(json!({ "min_length": 1 }))
    }

    pub(crate) fn not_in_future(loc: Loc, input: Value) -> Self {
        Self::new("datetime_future", loc, "Input should be in the future", input)
    }

    pub(crate) fn too_short(loc: Loc, min: usize, input: Value) -> Self {
        let msg = format!("String should have at least {}", characters(min));
        Self::new("string_too_short", loc, msg, input).with_ctx(json!({ "min_length": min }))
    }

    pub(crate) fn too_long(loc: Loc, max: usize, input: Value) -> Self {
        let msg = format!("String should have at most {}", characters(max));
        Self::new("string_too_long", loc, msg, input).with_ctx(json!({ "max_length": max }))
    }

    pub(crate) fn pattern_mismatch(loc: Loc, pattern: &str, input: Value) -> Self {
        let msg = format!("String should match pattern '{pattern}'");
        Self::new("string_pattern_mismatch", loc, msg, input).with_ctx(json!({ "pattern": pattern }))
    }

    /// The body is not JSON.
    pub(crate) fn invalid_json(offset: usize, error: &str) -> Self {
        Self::new("json_invalid", Loc::Offset(offset), "JSON decode error", json!({}))
            .with_ctx(json!({ "error": error }))
    }

    /// The body is not a JSON object. It is not echoed, because it may contain a password anywhere.
    pub(crate) fn not_an_object() -> Self {
        let msg = "Input should be a valid dictionary or object to extract fields from";
        Self::new("model_attributes_type", Loc::Body, msg, Value::Null)
    }

    /// A parameter is not an integer.
    pub(crate) fn unparsable_integer(loc: Loc, input: &str) -> Self {
        let msg = "Input should be a valid integer, unable to parse string as an integer";
        Self::new("int_parsing", loc, msg, input.into())
    }

    /// A field is not an integer.
    pub(crate) fn not_an_integer(loc: Loc, input: Value) -> Self {
        Self::new("int_type", loc, "Input should be a valid integer", input)
    }

    pub(crate) fn too_small(loc: Loc, min: u64, input: &str) -> Self {
        let msg = format!("Input should be greater than or equal to {min}");
        Self::new("greater_than_equal", loc, msg, input.into()).with_ctx(json!({ "ge": min }))
    }

    pub(crate) fn too_large(loc: Loc, max: u64, input: &str) -> Self {
        let msg = format!("Input should be less than or equal to {max}");
        Self::new("less_than_equal", loc, msg, input.into()).with_ctx(json!({ "le": max }))
    }

    pub(crate) fn invalid_time(loc: Loc, input: &str) -> Self {
        let error = "an RFC 3339 time such as 2026-11-22T08:03:14Z is needed";
        let msg = format!("Input should be a valid datetime, {error}");
        Self::new("datetime_parsing", loc, msg, input.into()).with_ctx(json!({ "error": error }))
    }

    pub(crate) fn invalid_date(loc: Loc, input: &str) -> Self {
        let error = "a day such as 2026-11-23 is needed";
        let msg = format!("Input should be a valid date in the format YYYY-MM-DD, {error}");
        Self::new("date_parsing", loc, msg, input.into()).with_ctx(json!({ "error": error }))
    }

    /// A query parameter that the route does not have.
    pub(crate) fn unknown_parameter(name: &str, nearest: Option<&str>, input: &str) -> Self {
        let (mut msg, mut ctx) = ("Extra inputs are not permitted".to_owned(), None);
        if let Some(nearest) = nearest {
            msg.extend(["; the nearest parameter is `", nearest, "`"]);
            ctx = Some(Box::new(json!({ "nearest": nearest })));
        }
        let loc = Location::UnknownQuery("query", name.to_owned());
        Self { kind: "extra_forbidden", loc, msg, input: input.into(), ctx }
    }

    /// A parameter that is not a list was given more than once.
    pub(crate) fn repeated(loc: Loc, input: Vec<String>) -> Self {
        let error = "the parameter may be given once only";
        let msg = format!("Value error, {error}");
        Self::new("value_error", loc, msg, input.into()).with_ctx(json!({ "error": error }))
    }

    pub(crate) fn invalid_choice(loc: Loc, expected: &str, input: &str) -> Self {
        let msg = format!("Input should be {expected}");
        Self::new("enum", loc, msg, input.into()).with_ctx(json!({ "expected": expected }))
    }
}

fn characters(count: usize) -> String {
    if count == 1 { "1 character".to_owned() } else { format!("{count} characters") }
}

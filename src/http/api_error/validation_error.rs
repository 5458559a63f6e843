//! The entries of a 422, in the words of Pydantic 2, which frontends print as they are.

use serde::{Serialize, Serializer};
use serde_json::{Value, json};

/// One thing that is wrong with a request.
#[derive(Clone, Serialize)]
#[cfg_attr(test, derive(Debug))]
pub(crate) struct ValidationError {
    #[serde(rename = "type")]
    kind: &'static str,
    loc: Loc,
    msg: String,
    /// What was given. The caller has taken passwords out.
    input: Value,
    #[serde(skip_serializing_if = "Option::is_none")]
    ctx: Option<Box<Value>>,
}

/// Where in the request it is.
#[derive(Clone, Copy)]
#[cfg_attr(test, derive(Debug))]
pub(crate) enum Loc {
    /// The body as a whole.
    Body,
    /// A place in the body's text, in characters.
    Offset(usize),
    /// A field of the body.
    Field(&'static str),
    /// A query parameter.
    Query(&'static str),
    /// A header.
    Header(&'static str),
    /// A part of the path.
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
        Self { kind, loc, msg: msg.into(), input, ctx: None }
    }

    fn with_ctx(self, ctx: Value) -> Self {
        Self { ctx: Some(Box::new(ctx)), ..self }
    }

    /// What has to be there is not; `input` is what it is missing from.
    pub(crate) fn missing(loc: Loc, input: Value) -> Self {
        Self::new("missing", loc, "Field required", input)
    }

    /// It is no text.
    pub(crate) fn not_a_string(loc: Loc, input: Value) -> Self {
        Self::new("string_type", loc, "Input should be a valid string", input)
    }

    /// It is no e-mail address.
    pub(crate) fn invalid_email(loc: Loc, reason: &str, input: Value) -> Self {
        let msg = format!("value is not a valid email address: {reason}");
        Self::new("value_error", loc, msg, input).with_ctx(json!({ "reason": reason }))
    }

    /// It is no address that a webhook can have.
    pub(crate) fn invalid_url(loc: Loc, reason: &str, input: Value) -> Self {
        let msg = format!("value is not a valid webhook address: {reason}");
        Self::new("value_error", loc, msg, input).with_ctx(json!({ "reason": reason }))
    }

    /// It is no list.
    pub(crate) fn not_a_list(loc: Loc, input: Value) -> Self {
        Self::new("list_type", loc, "Input should be a valid list", input)
    }

    /// It has fewer characters than `min`.
    pub(crate) fn too_short(loc: Loc, min: usize, input: Value) -> Self {
        let msg = format!("String should have at least {}", characters(min));
        Self::new("string_too_short", loc, msg, input).with_ctx(json!({ "min_length": min }))
    }

    /// It has more characters than `max`.
    pub(crate) fn too_long(loc: Loc, max: usize, input: Value) -> Self {
        let msg = format!("String should have at most {}", characters(max));
        Self::new("string_too_long", loc, msg, input).with_ctx(json!({ "max_length": max }))
    }

    /// It has characters, or a form, that the pattern does not admit.
    pub(crate) fn pattern_mismatch(loc: Loc, pattern: &str, input: Value) -> Self {
        let msg = format!("String should match pattern '{pattern}'");
        Self::new("string_pattern_mismatch", loc, msg, input).with_ctx(json!({ "pattern": pattern }))
    }

    /// The body is no JSON: `error` says what is wrong there.
    pub(crate) fn invalid_json(offset: usize, error: &str) -> Self {
        Self::new("json_invalid", Loc::Offset(offset), "JSON decode error", json!({}))
            .with_ctx(json!({ "error": error }))
    }

    /// The body is no JSON object. It is not shown: nobody knows where in it a password may be.
    pub(crate) fn not_an_object() -> Self {
        let msg = "Input should be a valid dictionary or object to extract fields from";
        Self::new("model_attributes_type", Loc::Body, msg, Value::Null)
    }

    /// It is no whole number.
    pub(crate) fn unparsable_integer(loc: Loc, input: &str) -> Self {
        let msg = "Input should be a valid integer, unable to parse string as an integer";
        Self::new("int_parsing", loc, msg, input.into())
    }

    /// What stands in a body is no whole number.
    pub(crate) fn not_an_integer(loc: Loc, input: Value) -> Self {
        Self::new("int_type", loc, "Input should be a valid integer", input)
    }

    /// It is below `min`.
    pub(crate) fn too_small(loc: Loc, min: u64, input: &str) -> Self {
        let msg = format!("Input should be greater than or equal to {min}");
        Self::new("greater_than_equal", loc, msg, input.into()).with_ctx(json!({ "ge": min }))
    }

    /// It is above `max`.
    pub(crate) fn too_large(loc: Loc, max: u64, input: &str) -> Self {
        let msg = format!("Input should be less than or equal to {max}");
        Self::new("less_than_equal", loc, msg, input.into()).with_ctx(json!({ "le": max }))
    }

    /// It is no time.
    pub(crate) fn invalid_time(loc: Loc, input: &str) -> Self {
        let error = "an RFC 3339 time such as 2026-11-22T08:03:14Z is needed";
        let msg = format!("Input should be a valid datetime, {error}");
        Self::new("datetime_parsing", loc, msg, input.into()).with_ctx(json!({ "error": error }))
    }

    /// It is no date.
    pub(crate) fn invalid_date(loc: Loc, input: &str) -> Self {
        let error = "a day such as 2026-11-23 is needed";
        let msg = format!("Input should be a valid date in the format YYYY-MM-DD, {error}");
        Self::new("date_parsing", loc, msg, input.into()).with_ctx(json!({ "error": error }))
    }

    /// It is none of the names that there are.
    pub(crate) fn invalid_choice(loc: Loc, expected: &str, input: &str) -> Self {
        let msg = format!("Input should be {expected}");
        Self::new("enum", loc, msg, input.into()).with_ctx(json!({ "expected": expected }))
    }
}

fn characters(count: usize) -> String {
    if count == 1 { "1 character".to_owned() } else { format!("{count} characters") }
}

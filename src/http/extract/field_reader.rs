//! Reads typed fields from a JSON object and collects the validation errors.

use std::collections::BTreeSet;
use std::ops::RangeInclusive;

use domain::{
    EmailAddress, ErasureReason, Moment, PasswordError, PasswordPolicy, Reason, ReasonError, Role, TokenName,
    TokenNameError, Username, UsernameError, UsernamePolicy, WebhookUrl, WebhookUrlError, known_event_types,
};
use serde_json::{Map, Value};

use crate::crypto::Password;
use crate::http::api_error::{ApiError, Loc, ValidationError};
use crate::query::parse_time;

/// Fields that are never echoed in an answer, nor hashed into the fingerprint of a request, at any depth.
const SECRET_FIELDS: [&str; 5] = ["password", "current_password", "new_password", "client_secret", "secret"];

// The patterns describe the rules of the domain in messages; nothing is matched against them.
const USERNAME_PATTERN: &str = r"^[^\p{Cc}\u2028\u2029\u202A-\u202E\u2066-\u2069]*$";
const REASON_PATTERN: &str = r"^[^\p{Cc}--[\n\t]]*$";
const TOKEN_NAME_PATTERN: &str = USERNAME_PATTERN;
const PASSWORD_PATTERN: &str = r"^[^\u0000]*$";

/// The tokens that are issued are far shorter.
const MAX_MAIL_TOKEN_LENGTH: usize = 4096;

pub(crate) struct FieldReader {
    /// Fields that may be echoed.
    given: Map<String, Value>,
    /// The secret fields of the object itself.
    secret: Map<String, Value>,
    errors: Vec<ValidationError>,
}

impl FieldReader {
    pub(crate) fn new(mut given: Map<String, Value>) -> Self {
        let secret = SECRET_FIELDS.iter().filter_map(|name| given.remove_entry(*name)).collect();
        for value in given.values_mut() {
            redact_secrets(value);
        }
        Self { given, secret, errors: Vec::new() }
    }

    /// The body, if there were no errors.
    pub(crate) fn finish<T>(self, body: Option<T>) -> Result<T, ApiError> {
        body.filter(|_| self.errors.is_empty()).ok_or(ApiError::Invalid(self.errors))
    }

    pub(crate) fn email(&mut self, name: &'static str) -> Option<EmailAddress> {
        let text = self.text(name)?;
        let read = EmailAddress::parse(&text);
        self.record(
            read.map_err(|error| {
                ValidationError::invalid_email(Loc::Field(name), &error.reason, text.into())
            }),
        )
    }

    pub(crate) fn optional_email(&mut self, name: &'static str) -> Option<EmailAddress> {
        if self.is_absent(name) { None } else { self.email(name) }
    }

    pub(crate) fn webhook_url(&mut self, name: &'static str) -> Option<WebhookUrl> {
        let text = self.text(name)?;
        let read = WebhookUrl::parse(&text);
        self.record(read.map_err(|error| {
            let shown = if error == WebhookUrlError::Credentials { Value::Null } else { text.into() };
            ValidationError::invalid_url(Loc::Field(name), &error.to_string(), shown)
        }))
    }

    /// Optional; each must be a known event type.
    pub(crate) fn event_types(&mut self, name: &'static str) -> Vec<String> {
        let given = match self.given.get(name).cloned() {
            None | Some(Value::Null) => return Vec::new(),
            Some(Value::Array(given)) => given,
            Some(other) => {
                let error = ValidationError::not_a_list(Loc::Field(name), other);
                return self.reject(error).unwrap_or_default();
            }
        };
        let mut types = Vec::new();
        for event_type in given {
            match event_type {
                Value::String(event_type) if known_event_types().any(|known| known == event_type) => {
                    if !types.contains(&event_type) {
                        types.push(event_type);
                    }
                }
                Value::String(unknown) => {
                    let expected = "a type of event, such as 'UserRegistered'";
                    self.errors.push(ValidationError::invalid_choice(Loc::Field(name), expected, &unknown));
                }
                other => self.errors.push(ValidationError::not_a_string(Loc::Field(name), other)),
            }
        }
        types
    }

    /// A new username.
    pub(crate) fn username(&mut self, name: &'static str, policy: UsernamePolicy) -> Option<Username> {
        let (text, loc) = (self.text(name)?, Loc::Field(name));
        let read = Username::parse(&text).and_then(|username| policy.check(&username).map(|()| username));
        self.record(read.map_err(|error| match error {
            UsernameError::TooShort { min } => ValidationError::too_short(loc, min, text.into()),
            UsernameError::TooLong { max } => ValidationError::too_long(loc, max, text.into()),
            UsernameError::Forbidden { .. } => {
                ValidationError::pattern_mismatch(loc, USERNAME_PATTERN, text.into())
            }
            UsernameError::StrayMark { .. }
            | UsernameError::NotInProfile { .. }
            | UsernameError::NotAtLevel { .. } => {
                ValidationError::invalid_username(loc, &error.to_string(), text.into())
            }
        }))
    }

    pub(crate) fn optional_username(
        &mut self,
        name: &'static str,
        policy: UsernamePolicy,
    ) -> Option<Username> {
        if self.is_absent(name) { None } else { self.username(name, policy) }
    }

    /// Optional.
    pub(crate) fn reason(&mut self, name: &'static str) -> Option<Reason> {
        if self.is_absent(name) { None } else { self.required_reason(name) }
    }

    pub(crate) fn required_reason(&mut self, name: &'static str) -> Option<Reason> {
        if self.is_absent(name) {
            return self.missing(name);
        }
        let (text, loc) = (self.text(name)?, Loc::Field(name));
        let read = Reason::parse(&text);
        self.record(read.map_err(|error| match error {
            ReasonError::TooShort { min } => ValidationError::too_short(loc, min, text.into()),
            ReasonError::TooLong { max } => ValidationError::too_long(loc, max, text.into()),
            ReasonError::Forbidden { .. } => {
                ValidationError::pattern_mismatch(loc, REASON_PATTERN, text.into())
            }
        }))
    }

    pub(crate) fn erasure_reason(&mut self, name: &'static str) -> Option<ErasureReason> {
        let text = self.text(name)?;
        let expected = "'request', 'policy' or 'other'";
        let error = |_| ValidationError::invalid_choice(Loc::Field(name), expected, &text);
        self.record(text.parse().map_err(error))
    }

    /// An existing password, which need not satisfy the policy.
    pub(crate) fn password(&mut self, name: &'static str) -> Option<Password> {
        match self.secret.remove(name) {
            Some(Value::String(text)) => Some(Password::new(text)),
            Some(_) => self.reject(ValidationError::not_a_string(Loc::Field(name), Value::Null)),
            None => self.missing(name),
        }
    }

    /// The token of a link in a mail. What is no token is refused when it is verified.
    pub(crate) fn mail_token(&mut self, name: &'static str) -> Option<String> {
        let (text, loc) = (self.text(name)?, Loc::Field(name));
        if text.is_empty() {
            return self.reject(ValidationError::too_short(loc, 1, text.into()));
        }
        if text.len() > MAX_MAIL_TOKEN_LENGTH {
            return self.reject(ValidationError::too_long(loc, MAX_MAIL_TOKEN_LENGTH, Value::Null));
        }
        Some(text)
    }

    /// A password to be set. Errors do not echo it.
    pub(crate) fn new_password(&mut self, name: &'static str, min_length: usize) -> Option<Password> {
        let password = self.password(name)?;
        let loc = Loc::Field(name);
        // Some libraries that may verify this hash later end the password at a zero byte.
        if password.expose().contains('\0') {
            return self.reject(ValidationError::pattern_mismatch(loc, PASSWORD_PATTERN, Value::Null));
        }
        let checked = PasswordPolicy { min_length }.check(password.expose());
        self.record(checked.map(|()| password).map_err(|error| match error {
            PasswordError::TooShort { min } => ValidationError::too_short(loc, min, Value::Null),
            PasswordError::TooLong { max } => ValidationError::too_long(loc, max, Value::Null),
        }))
    }

    pub(crate) fn optional_new_password(
        &mut self,
        name: &'static str,
        min_length: usize,
    ) -> Option<Password> {
        let is_absent = self.secret.get(name).is_none_or(Value::is_null);
        if is_absent { None } else { self.new_password(name, min_length) }
    }

    /// The name of a machine token.
    pub(crate) fn token_name(&mut self, name: &'static str) -> Option<TokenName> {
        let (text, loc) = (self.text(name)?, Loc::Field(name));
        let read = TokenName::parse(&text);
        self.record(read.map_err(|error| match error {
            TokenNameError::TooShort { min } => ValidationError::too_short(loc, min, text.into()),
            TokenNameError::TooLong { max } => ValidationError::too_long(loc, max, text.into()),
            TokenNameError::Forbidden { .. } => {
                ValidationError::pattern_mismatch(loc, TOKEN_NAME_PATTERN, text.into())
            }
        }))
    }

    /// Optional; a time in RFC 3339.
    pub(crate) fn optional_time(&mut self, name: &'static str) -> Option<Moment> {
        if self.is_absent(name) {
            return None;
        }
        let text = self.text(name)?;
        let time = parse_time(&text).and_then(|time| Moment::from_millisecond(time.as_millisecond()).ok());
        self.record(time.ok_or_else(|| ValidationError::invalid_time(Loc::Field(name), &text)))
    }

    /// A list of at least one role.
    pub(crate) fn required_roles(&mut self, name: &'static str) -> Option<BTreeSet<Role>> {
        if self.is_absent(name) {
            return self.missing(name);
        }
        let (errors, roles) = (self.errors.len(), self.roles(name));
        if roles.is_empty() && self.errors.len() == errors {
            return self.reject(ValidationError::empty_list(Loc::Field(name)));
        }
        Some(roles)
    }

    /// Optional; a list of roles.
    pub(crate) fn roles(&mut self, name: &'static str) -> BTreeSet<Role> {
        let given = match self.given.get(name).cloned() {
            None | Some(Value::Null) => return BTreeSet::new(),
            Some(Value::Array(given)) => given,
            Some(other) => {
                let error = ValidationError::not_a_list(Loc::Field(name), other);
                return self.reject(error).unwrap_or_default();
            }
        };
        let read = given.into_iter().map(|role| match role {
            Value::String(role) => {
                let expected = "'admin', 'auditor', 'operator', 'service' or 'subscriber'";
                role.parse().map_err(|_| ValidationError::invalid_choice(Loc::Field(name), expected, &role))
            }
            other => Err(ValidationError::not_a_string(Loc::Field(name), other)),
        });
        let read: Vec<_> = read.collect();
        read.into_iter().filter_map(|role| self.record(role)).collect()
    }

    pub(crate) fn number(&mut self, name: &'static str, bounds: RangeInclusive<u64>) -> Option<u64> {
        let Some(given) = self.given.get(name).cloned() else { return self.missing(name) };
        let (loc, shown, (min, max)) = (Loc::Field(name), given.to_string(), bounds.into_inner());
        match whole_number(&given) {
            Some(number) if number < i128::from(min) => {
                self.reject(ValidationError::too_small(loc, min, &shown))
            }
            Some(number) => match u64::try_from(number) {
                Ok(number) if number <= max => Some(number),
                Ok(_) | Err(_) => self.reject(ValidationError::too_large(loc, max, &shown)),
            },
            None => self.reject(ValidationError::not_an_integer(loc, given)),
        }
    }

    pub(crate) fn optional_number(&mut self, name: &'static str, bounds: RangeInclusive<u64>) -> Option<u64> {
        if self.is_absent(name) { None } else { self.number(name, bounds) }
    }

    fn text(&mut self, name: &'static str) -> Option<String> {
        match self.given.get(name).cloned() {
            Some(Value::String(text)) => Some(text),
            Some(other) => self.reject(ValidationError::not_a_string(Loc::Field(name), other)),
            None => self.missing(name),
        }
    }

    /// Whether an optional field is neither missing nor null.
    pub(crate) fn is_given(&self, name: &str) -> bool {
        !self.is_absent(name)
    }

    fn is_absent(&self, name: &str) -> bool {
        self.given.get(name).is_none_or(Value::is_null)
    }

    fn missing<T>(&mut self, name: &'static str) -> Option<T> {
        let whole = Value::Object(self.given.clone());
        self.reject(ValidationError::missing(Loc::Field(name), whole))
    }

    fn record<T>(&mut self, read: Result<T, ValidationError>) -> Option<T> {
        read.map_err(|error| self.errors.push(error)).ok()
    }

    fn reject<T>(&mut self, error: ValidationError) -> Option<T> {
        self.record(Err(error))
    }
}

/// A number without a fraction, however it is written: `7.0` is an integer to JSON Schema, as to Pydantic. One that
/// is out of range is the nearest in range.
fn whole_number(value: &Value) -> Option<i128> {
    let number = value.as_number()?;
    number.as_i128().or_else(|| {
        let number = number.as_f64().filter(|number| number.fract() == 0.0)?;
        let nearest = if number < 0.0 { i128::MIN } else { i128::MAX };
        Some(format!("{number:.0}").parse().unwrap_or(nearest))
    })
}

/// Removes secret fields at any depth; returns whether there were any.
pub(crate) fn redact_secrets(value: &mut Value) -> bool {
    let mut found = false;
    match value {
        Value::Object(members) => {
            let before = members.len();
            members.retain(|name, _| !SECRET_FIELDS.contains(&name.as_str()));
            found = members.len() < before;
            for member in members.values_mut() {
                found |= redact_secrets(member);
            }
        }
        Value::Array(elements) => {
            for element in elements {
                found |= redact_secrets(element);
            }
        }
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
    }
    found
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    /// The errors of a sign-up with this body.
    fn errors(body: Value) -> Value {
        let Value::Object(body) = body else { panic!("not an object") };
        let mut fields = FieldReader::new(body);
        let read = (
            fields.email("email"),
            fields.username("username", UsernamePolicy::default()),
            fields.new_password("password", 8),
        );
        match fields.finish(Some(read)) {
            Err(ApiError::Invalid(errors)) => serde_json::to_value(errors).unwrap(),
            Err(other) => panic!("{other:?}"),
            Ok(_) => json!([]),
        }
    }

    #[test]
    fn errors_are_listed_in_field_order() {
        assert_eq!(
            errors(json!({"username": " ", "password": "short", "extra": 1})),
            json!([
                {"type": "missing", "loc": ["body", "email"], "msg": "Field required",
                 "input": {"username": " ", "extra": 1}},
                {"type": "string_too_short", "loc": ["body", "username"],
                 "msg": "String should have at least 1 character", "input": " ", "ctx": {"min_length": 1}},
                {"type": "string_too_short", "loc": ["body", "password"],
                 "msg": "String should have at least 8 characters", "input": null, "ctx": {"min_length": 8}}
            ])
        );
    }

    #[test]
    fn an_email_error_gives_its_reason() {
        assert_eq!(
            errors(json!({"email": "nope", "username": "ada", "password": "correct horse"})),
            json!([{
                "type": "value_error", "loc": ["body", "email"],
                "msg": "value is not a valid email address: An email address must have an @-sign.",
                "input": "nope", "ctx": {"reason": "An email address must have an @-sign."}
            }])
        );
    }

    #[test]
    fn non_strings_are_echoed_except_passwords() {
        let reported = errors(
            json!({"email": {"a": [{"password": "s3cret", "b": 1}]}, "username": null, "password": 7}),
        );
        assert_eq!(reported[0]["input"], json!({"a": [{"b": 1}]}));
        assert_eq!((&reported[1]["type"], &reported[1]["input"]), (&json!("string_type"), &json!(null)));
        assert_eq!((&reported[2]["type"], &reported[2]["input"]), (&json!("string_type"), &json!(null)));
    }

    #[test]
    fn no_error_shows_a_password_at_any_depth() {
        let body = json!({
            "email": {"password": "s3cret", "deep": [[{"client_secret": {"x": "s3cret"}}]]},
            "current_password": "s3cret", "new_password": ["s3cret"], "password": "s3cret"
        });
        let reported = errors(body).to_string();
        assert!(reported.contains("Field required") && !reported.contains("s3cret"), "{reported}");
    }

    #[test]
    fn a_number_is_whole_however_it_is_written() {
        const MAX: u64 = 1 << 60;
        let read = |value: Value| {
            let mut fields = FieldReader::new(Map::from_iter([("n".to_owned(), value)]));
            let read = fields.number("n", 1..=MAX);
            fields.finish(read).map_err(|error| match error {
                ApiError::Invalid(errors) => serde_json::to_value(&errors[0]).unwrap()["type"].clone(),
                other => panic!("{other:?}"),
            })
        };
        for value in [json!(7), json!(7.0), serde_json::from_str("0.7e1").unwrap()] {
            assert_eq!(read(value), Ok(7));
        }
        assert_eq!(read(json!(MAX)), Ok(MAX));
        for (value, error) in [
            (json!(0), "greater_than_equal"),
            (json!(-0.0), "greater_than_equal"),
            (json!(-7), "greater_than_equal"),
            (json!(-1e300), "greater_than_equal"),
            (json!(MAX + 1), "less_than_equal"),
            (json!(u64::MAX), "less_than_equal"),
            (json!(1e300), "less_than_equal"),
            (json!(7.5), "int_type"),
            (json!("7"), "int_type"),
            (json!(true), "int_type"),
        ] {
            assert_eq!(read(value.clone()), Err(json!(error)), "{value}");
        }
    }

    #[test]
    fn length_and_character_errors_name_the_bound() {
        let reported = errors(json!({
            "email": "a@example.com", "username": "x".repeat(65), "password": "p".repeat(1025)
        }));
        assert_eq!(reported[0]["msg"], "String should have at most 64 characters");
        assert_eq!(reported[1]["ctx"], json!({"max_length": 1024}));
        let reported =
            errors(json!({"email": "a@example.com", "username": "a\u{202E}b", "password": "12345678\0"}));
        assert_eq!(
            (&reported[0]["type"], &reported[1]["type"]),
            (&json!("string_pattern_mismatch"), &reported[0]["type"])
        );
        assert_eq!(reported[1]["input"], json!(null));
    }
}

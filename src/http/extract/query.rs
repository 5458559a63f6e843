//! Reads typed query parameters and collects the validation errors. A parameter is given once, unless it is a
//! list; unknown ones are the concern of `documented_query`.

use std::convert::Infallible;
use std::ops::RangeInclusive;
use std::str::FromStr;

use axum::extract::FromRequestParts;
use axum::http::Uri;
use axum::http::request::Parts;
use domain::{known_event_types, stored_event_types};
use jiff::Timestamp;
use jiff::civil::Date;
use store::{Position, StreamId};
use url::form_urlencoded;

use super::documented_query::nearest;
use crate::http::api_error::{ApiError, Loc, ValidationError};
use crate::query::{AsOf, parse_time};

/// The largest position that the databases can store.
pub(crate) const MAX_POSITION: u64 = i64::MAX.cast_unsigned();
const STREAM_PATTERN: &str = "^[a-z0-9-]{1,128}$";

pub(crate) struct QueryParams {
    given: Vec<(String, String)>,
    errors: Vec<ValidationError>,
}

impl<S: Sync> FromRequestParts<S> for QueryParams {
    type Rejection = Infallible;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Infallible> {
        Ok(Self::of(&parts.uri))
    }
}

impl QueryParams {
    fn of(uri: &Uri) -> Self {
        let given = form_urlencoded::parse(uri.query().unwrap_or_default().as_bytes()).into_owned().collect();
        Self { given, errors: Vec::new() }
    }

    /// The values of a parameter.
    fn take_all(&mut self, name: &str) -> Vec<String> {
        self.given.extract_if(.., |(given, _)| given == name).map(|(_, value)| value).collect()
    }

    /// The value of a parameter that is not a list.
    pub(crate) fn take(&mut self, name: &'static str) -> Option<String> {
        let mut values = self.take_all(name);
        if values.len() > 1 {
            self.errors.push(ValidationError::repeated(Loc::Query(name), values));
            return None;
        }
        values.pop()
    }

    /// The query, if there were no errors.
    pub(crate) fn finish<T>(self, read: T) -> Result<T, ApiError> {
        if self.errors.is_empty() { Ok(read) } else { Err(ApiError::Invalid(self.errors)) }
    }

    pub(crate) fn number(&mut self, name: &'static str, bounds: RangeInclusive<u64>) -> Option<u64> {
        let text = self.take(name)?;
        self.record(number(Loc::Query(name), &text, bounds))
    }

    /// `limit`, from 1 to `max`.
    pub(crate) fn limit(&mut self, max: u64, default: usize) -> usize {
        self.number("limit", 1..=max).and_then(|limit| limit.try_into().ok()).unwrap_or(default)
    }

    pub(crate) fn position(&mut self, name: &'static str) -> Option<Position> {
        let text = self.take(name)?;
        self.record(position(Loc::Query(name), &text))
    }

    /// Event types, as the names under which their events are stored: comma-separated, in one or more parameters.
    pub(crate) fn event_types(&mut self, name: &'static str) -> Vec<String> {
        let texts = self.take_all(name);
        let given =
            texts.iter().flat_map(|text| text.split(',')).map(str::trim).filter(|part| !part.is_empty());
        let (known, mut types) = (known_event_types().collect::<Vec<_>>(), Vec::new());
        for event_type in given {
            if !known.contains(&event_type) {
                let example = nearest(event_type, known.iter().copied()).unwrap_or("UserRegistered");
                let expected = format!("a type of event, such as '{example}'");
                self.errors.push(ValidationError::invalid_choice(Loc::Query(name), &expected, event_type));
            }
            types.push(event_type.to_owned());
        }
        stored_event_types(&types)
    }

    /// An empty value is an error: as a filter, it would select everything or nothing.
    pub(crate) fn text(&mut self, name: &'static str) -> Option<String> {
        let text = self.take(name)?;
        let too_short = || ValidationError::too_short(Loc::Query(name), 1, String::new().into());
        self.record(Some(text).filter(|text| !text.is_empty()).ok_or_else(too_short))
    }

    /// A text in a form of its own, of which the pattern is shown.
    pub(crate) fn parsed<T: FromStr>(&mut self, name: &'static str, pattern: &str) -> Option<T> {
        let text = self.take(name)?;
        let mismatch = |_| ValidationError::pattern_mismatch(Loc::Query(name), pattern, text.as_str().into());
        self.record(text.parse().map_err(mismatch))
    }

    /// One of these names.
    pub(crate) fn choice<T: Copy>(&mut self, name: &'static str, choices: &[(&str, T)]) -> Option<T> {
        let text = self.take(name)?;
        let chosen = choices.iter().find(|(choice, _)| *choice == text).map(|(_, value)| *value);
        let names: Vec<_> = choices.iter().map(|(choice, _)| format!("'{choice}'")).collect();
        let error = || ValidationError::invalid_choice(Loc::Query(name), &names.join(" or "), &text);
        self.record(chosen.ok_or_else(error))
    }

    pub(crate) fn stream(&mut self, name: &'static str) -> Option<StreamId> {
        let text = self.take(name)?;
        let stream = StreamId::new(text.as_str());
        self.record(
            stream.map_err(|_| {
                ValidationError::pattern_mismatch(Loc::Query(name), STREAM_PATTERN, text.into())
            }),
        )
    }

    /// A time in RFC 3339.
    pub(crate) fn time(&mut self, name: &'static str) -> Option<Timestamp> {
        let text = self.take(name)?;
        // An unescaped plus sign arrives as a space.
        let time = parse_time(&text).or_else(|| parse_time(&text.replace(' ', "+")));
        self.record(time.ok_or_else(|| ValidationError::invalid_time(Loc::Query(name), &text)))
    }

    /// A position of the log, or a time in RFC 3339.
    pub(crate) fn as_of(&mut self, name: &'static str) -> Option<AsOf> {
        let (_, text) = self.given.iter().find(|(given, _)| given == name)?;
        let is_number = text.trim().bytes().all(|byte| byte.is_ascii_digit());
        if is_number { self.position(name).map(AsOf::Position) } else { self.time(name).map(AsOf::Time) }
    }

    /// A day, such as `2026-11-23`.
    pub(crate) fn date(&mut self, name: &'static str) -> Option<Date> {
        let text = self.take(name)?;
        let is_day = text.len() == "2026-11-23".len();
        let date = text.parse().ok().filter(|_| is_day);
        self.record(date.ok_or_else(|| ValidationError::invalid_date(Loc::Query(name), &text)))
    }

    fn record<T>(&mut self, read: Result<T, ValidationError>) -> Option<T> {
        read.map_err(|error| self.errors.push(error)).ok()
    }
}

pub(crate) fn position(loc: Loc, text: &str) -> Result<Position, ValidationError> {
    number(loc, text, 0..=MAX_POSITION).map(Position::new)
}

/// An integer within bounds, with an optional sign.
fn number(loc: Loc, text: &str, bounds: RangeInclusive<u64>) -> Result<u64, ValidationError> {
    let trimmed = text.trim();
    let digits = trimmed.strip_prefix(['+', '-']).unwrap_or(trimmed);
    if digits.is_empty() || !digits.bytes().all(|byte| byte.is_ascii_digit()) {
        return Err(ValidationError::unparsable_integer(loc, text));
    }
    let (min, max) = (*bounds.start(), *bounds.end());
    match digits.parse::<u64>() {
        Ok(size) if size < min || (size > 0 && trimmed.starts_with('-')) => {
            Err(ValidationError::too_small(loc, min, text))
        }
        Ok(size) if size <= max => Ok(size),
        Ok(_) | Err(_) => Err(ValidationError::too_large(loc, max, text)),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn params(query: &str) -> QueryParams {
        QueryParams::of(&format!("/events?{query}").parse().unwrap())
    }

    #[test]
    fn numbers_are_bounded_and_errors_name_the_parameter() {
        let mut given = params("after=x&limit=1001");
        given.position("after");
        given.number("limit", 1..=1000);
        let Err(ApiError::Invalid(errors)) = given.finish(()) else { panic!("accepted") };
        assert_eq!(
            serde_json::to_value(errors).unwrap(),
            json!([
                {"type": "int_parsing", "loc": ["query", "after"], "input": "x",
                 "msg": "Input should be a valid integer, unable to parse string as an integer"},
                {"type": "less_than_equal", "loc": ["query", "limit"], "input": "1001",
                 "msg": "Input should be less than or equal to 1000", "ctx": {"le": 1000}}
            ])
        );
        for bad in ["-1", "", "1.5", "0x1", "9223372036854775808", "99999999999999999999"] {
            assert!(position(Loc::Query("after"), bad).is_err(), "{bad}");
        }
        assert_eq!(params("after=%202").number("after", 0..=9), Some(2));
        let mut twice = params("after=1&after=2");
        assert_eq!(twice.number("after", 0..=9), None);
        let Err(ApiError::Invalid(errors)) = twice.finish(()) else { panic!("accepted") };
        assert_eq!(
            serde_json::to_value(errors).unwrap(),
            json!([{
                "type": "value_error", "loc": ["query", "after"], "input": ["1", "2"],
                "msg": "Value error, the parameter may be given once only",
                "ctx": {"error": "the parameter may be given once only"},
            }])
        );
    }

    #[test]
    fn times_are_rfc_3339_and_forgive_an_unescaped_plus() {
        let noon: Timestamp = "2026-11-22T12:00:00Z".parse().unwrap();
        assert_eq!(params("from=2026-11-22T12:00:00Z").time("from"), Some(noon));
        assert_eq!(params("from=2026-11-22T14:00:00+02:00").time("from"), Some(noon));
        for bad in ["", "2026-11-22", "noon", "2026-13-22T12:00:00Z", "2026-11-22T12:00:00"] {
            let mut given = params(&format!("from={bad}"));
            assert_eq!(given.time("from"), None, "{bad}");
            assert!(given.finish(()).is_err(), "{bad}");
        }
    }

    #[test]
    fn a_day_is_a_date_and_nothing_more() {
        assert_eq!(params("from=2026-11-23").date("from"), Some(jiff::civil::date(2026, 11, 23)));
        for bad in ["", "2026-11-31", "today", "20261123", "2026-11-23T00:00:00Z"] {
            let mut given = params(&format!("from={bad}"));
            assert_eq!(given.date("from"), None, "{bad}");
            assert!(given.finish(()).is_err(), "{bad}");
        }
    }

    #[test]
    fn lists_and_streams() {
        let types = |query| params(query).event_types("types");
        assert_eq!(types("types=UserErased,%20RoleGranted,,"), ["RoleGranted", "UserErased"]);
        assert_eq!(types("types=UserErased&types=RoleGranted"), ["RoleGranted", "UserErased"]);
        assert!(types("").is_empty());
        let mut misspelt = params("types=UserErased,UserRegisterd");
        misspelt.event_types("types");
        let Err(ApiError::Invalid(errors)) = misspelt.finish(()) else { panic!("accepted") };
        let errors = serde_json::to_value(errors).unwrap();
        assert_eq!(
            (&errors[0]["loc"], &errors[0]["input"], &errors[0]["msg"], &errors[1]),
            (
                &json!(["query", "types"]),
                &json!("UserRegisterd"),
                &json!("Input should be a type of event, such as 'UserRegistered'"),
                &serde_json::Value::Null,
            )
        );
        assert!(params("stream=system").stream("stream").is_some());
        for bad in ["stream=User%201", "stream="] {
            let mut given = params(bad);
            assert!(given.stream("stream").is_none() && given.finish(()).is_err(), "{bad}");
        }
        let mut empty = params("actor=");
        assert!(empty.text("actor").is_none() && empty.finish(()).is_err());
    }
}

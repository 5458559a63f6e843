//! The request header `Prefer` (RFC 7240): whether a write is answered with what it has made.

use std::convert::Infallible;

use axum::extract::FromRequestParts;
use axum::http::request::Parts;
use axum::http::{HeaderMap, HeaderName};

use crate::http::headers::{PREFER, PREFERENCE_APPLIED};
use crate::http::openapi::builders::string;
use crate::http::openapi::parameters::{document_extractors, header_parameter};
use crate::http::state::HttpState;

/// `Preference-Applied` of an answer with a representation.
pub(crate) const REPRESENTATION_APPLIED: [(HeaderName, &str); 1] =
    [(PREFERENCE_APPLIED, "return=representation")];

/// What the client prefers.
pub(crate) struct Prefer {
    pub(crate) representation: bool,
}

document_extractors! {
    Prefer: [header_parameter("Prefer",
        string("`return=representation`: answer with the result of the write (RFC 7240); others are ignored"))];
}

impl Prefer {
    /// Of several values of a preference the first one counts.
    fn of(headers: &HeaderMap) -> Self {
        let values = headers.get_all(PREFER).iter().filter_map(|value| value.to_str().ok());
        let preferences = values.flat_map(|value| value.split(','));
        let mut returns = preferences.filter_map(|preference| {
            let (name, value) = preference.split(';').next()?.split_once('=')?;
            name.trim().eq_ignore_ascii_case("return").then(|| value.trim().trim_matches('"').to_owned())
        });
        Self { representation: returns.next().is_some_and(|value| value == "representation") }
    }
}

impl FromRequestParts<HttpState> for Prefer {
    type Rejection = Infallible;

    async fn from_request_parts(parts: &mut Parts, _: &HttpState) -> Result<Self, Infallible> {
        Ok(Self::of(&parts.headers))
    }
}

#[cfg(test)]
mod tests {
    use axum::http::HeaderValue;

    use super::*;

    #[test]
    fn first_value_of_return_counts() {
        for (values, representation) in [
            (&[][..], false),
            (&["return=representation"], true),
            (&["respond-async, Return = \"representation\"; x=1"], true),
            (&["wait=10", "return=representation"], true),
            (&["return=minimal"], false),
            (&["return=minimal, return=representation"], false),
            (&["representation"], false),
            (&["return"], false),
        ] {
            let values = values.iter().map(|value| (PREFER, HeaderValue::from_static(value)));
            let mut headers = HeaderMap::new();
            for (name, value) in values {
                headers.append(name, value);
            }
            assert_eq!(Prefer::of(&headers).representation, representation, "{headers:?}");
        }
    }
}

//! Conditional requests (RFC 9110 §13): `If-Match` and `If-None-Match` of writes, as a condition on the version of
//! what they change, and `304 Not Modified` for reads. Both are evaluated here and in the command executor for
//! every route alike.
//!
//! An entity tag starts with the version of the stream. That of a webhook also has a digest, because its
//! representation shows progress that is not in the stream; a write is compared by version only, so that a
//! delivery does not make the client's tag stale.

use aws_lc_rs::digest::{SHA256, digest};
use axum::body::Body;
use axum::http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode, header};
use axum::response::Response;
use serde::Serialize;

use super::openapi::builders::string;
use super::openapi::parameters::{document_extractors, header_parameter};
use crate::command::{VersionCondition, Versions};

/// How many bytes of the digest are in a tag.
const DIGEST_LENGTH: usize = 8;

/// The value of `If-Match` (RFC 9110 §13.1.1). What is no entity tag matches nothing.
const IF_MATCH_PATTERN: &str =
    r#"^[ \t]*(\*|(W/)?"[^"\u0000-\u0020\u007F]*"([ \t]*,[ \t]*(W/)?"[^"\u0000-\u0020\u007F]*")*)[ \t]*$"#;

/// Documents that a write evaluates `If-Match` and `If-None-Match`, which every write to something that exists
/// does.
pub(crate) struct IfMatch;

/// Documents that a read evaluates `If-None-Match`.
pub(crate) struct IfNoneMatch;

document_extractors! {
    IfMatch:
        [
            header_parameter("If-Match",
                string("Only if the current version is one of these entity tags").pattern(Some(IF_MATCH_PATTERN))),
            header_parameter("If-None-Match", string("Only if the current version is none of these entity tags"))
        ]
        "412" "`version_mismatch`";
    IfNoneMatch:
        [header_parameter("If-None-Match",
            string("The answer is 304 if the representation has one of these entity tags"))]
        "304" "The representation has one of the tags of `If-None-Match`";
}

/// `ETag`: the version of a stream, for a later `If-Match`.
pub(crate) fn entity_tag(version: u64) -> [(HeaderName, String); 1] {
    [(header::ETAG, format!("\"{version}\""))]
}

/// The `ETag` of a representation that also changes while the version stays.
pub(crate) fn entity_tag_of(version: u64, representation: &impl Serialize) -> [(HeaderName, String); 1] {
    [(header::ETAG, format!("\"{version}-{}\"", digest_of(representation)))]
}

/// The `ETag` of a representation that has no version.
pub(crate) fn content_tag(representation: &impl Serialize) -> (HeaderName, String) {
    (header::ETAG, format!("\"{}\"", digest_of(representation)))
}

fn digest_of(representation: &impl Serialize) -> String {
    // Structs of strings and numbers always serialise.
    let digest = digest(&SHA256, &serde_json::to_vec(representation).unwrap_or_default());
    hex::encode(digest.as_ref().get(..DIGEST_LENGTH).unwrap_or_default())
}

/// The condition that a write's headers set.
pub(crate) fn condition(headers: &HeaderMap) -> VersionCondition {
    VersionCondition {
        // Strong comparison: a weak tag matches nothing.
        one_of: tags(headers, &header::IF_MATCH).map(|tags| tags.versions(|tag| !tag.is_weak)),
        none_of: tags(headers, &header::IF_NONE_MATCH).map(|tags| tags.versions(|_| true)),
    }
}

/// The representations that the client has already, which need not be sent again.
pub(crate) struct KnownRepresentations(Option<Tags>);

impl KnownRepresentations {
    pub(crate) fn of(request: &HeaderMap) -> Self {
        Self(tags(request, &header::IF_NONE_MATCH))
    }

    /// Turns the answer to a read into `304 Not Modified` if the client has the representation.
    pub(crate) fn skip_body(&self, method: &Method, response: &mut Response) {
        let is_read = matches!(*method, Method::GET | Method::HEAD) && response.status() == StatusCode::OK;
        let tag = response.headers().get(header::ETAG).filter(|_| is_read);
        if tag.is_some_and(|tag| self.0.as_ref().is_some_and(|known| known.contain(tag))) {
            *response.status_mut() = StatusCode::NOT_MODIFIED;
            *response.body_mut() = Body::empty();
            response.headers_mut().remove(header::CONTENT_TYPE);
            response.headers_mut().remove(header::CONTENT_LENGTH);
        }
    }
}

/// The value of a precondition.
#[derive(Debug, PartialEq, Eq)]
enum Tags {
    Star,
    List(Vec<EntityTag>),
}

#[derive(Debug, PartialEq, Eq)]
struct EntityTag {
    is_weak: bool,
    /// Without the quotes.
    opaque: String,
}

impl Tags {
    fn versions(&self, is_compared: impl Fn(&EntityTag) -> bool) -> Versions {
        match self {
            Self::Star => Versions::Any,
            Self::List(tags) => Versions::OneOf(
                tags.iter().filter(|tag| is_compared(tag)).filter_map(EntityTag::version).collect(),
            ),
        }
    }

    /// Weak comparison with a strong tag.
    fn contain(&self, tag: &HeaderValue) -> bool {
        match self {
            Self::Star => true,
            Self::List(tags) => tags.iter().any(|known| *tag == format!("\"{}\"", known.opaque)),
        }
    }
}

impl EntityTag {
    /// The version of the stream; `None` in a tag that this service has not issued.
    fn version(&self) -> Option<u64> {
        let version = self.opaque.split('-').next().unwrap_or_default();
        let is_number = version.bytes().all(|byte| byte.is_ascii_digit());
        is_number.then(|| version.parse().ok()).flatten()
    }
}

/// The tags of a precondition, which may be in several headers; `None` if there is none. What is no entity tag
/// matches nothing.
fn tags(headers: &HeaderMap, name: &HeaderName) -> Option<Tags> {
    headers.contains_key(name).then(|| {
        let values = headers.get_all(name).iter().map(|value| String::from_utf8_lossy(value.as_bytes()));
        let list = values.collect::<Vec<_>>().join(",");
        if list.trim() == "*" { Tags::Star } else { Tags::List(parse_list(&list)) }
    })
}

/// Commas also occur within quotes.
fn parse_list(mut rest: &str) -> Vec<EntityTag> {
    let mut tags = Vec::new();
    loop {
        rest = rest.trim_start_matches([' ', '\t', ',']);
        if rest.is_empty() {
            return tags;
        }
        let unprefixed = rest.strip_prefix("W/");
        let is_weak = unprefixed.is_some();
        let quoted = unprefixed.unwrap_or(rest).strip_prefix('"').and_then(|text| text.split_once('"'));
        rest = if let Some((opaque, after)) = quoted {
            tags.push(EntityTag { is_weak, opaque: opaque.to_owned() });
            after
        } else {
            rest.split_once(',').map(|(_, after)| after).unwrap_or_default()
        };
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(name: &HeaderName, values: &[&str]) -> HeaderMap {
        let mut headers = HeaderMap::new();
        for value in values {
            headers.append(name.clone(), HeaderValue::from_str(value).unwrap());
        }
        headers
    }

    fn required(values: &[&str]) -> Option<Versions> {
        condition(&headers(&header::IF_MATCH, values)).one_of
    }

    #[test]
    fn lists_of_strong_tags_are_compared_by_version() {
        assert_eq!(required(&[]), None);
        assert_eq!(required(&[" * "]), Some(Versions::Any));
        for (given, versions) in [
            (&["\"7\""][..], &[7][..]),
            (&["\"7\", \"8\""], &[7, 8]),
            (&["\"7\"", "\"8-0f\",,"], &[7, 8]),
            (&["\"a,b\" , \"9\""], &[9]),
            (&["W/\"7\", \"8\""], &[8]),
            (&["7, \"8\""], &[8]),
            (&[""], &[]),
            (&["\"+7\""], &[]),
            (&["\"\""], &[]),
            (&["\"7"], &[]),
        ] {
            assert_eq!(required(given), Some(Versions::OneOf(versions.to_vec())), "{given:?}");
        }
    }

    #[test]
    fn excluded_tags_are_compared_weakly() {
        let excluded = |value| condition(&headers(&header::IF_NONE_MATCH, &[value])).none_of;
        assert_eq!(excluded("W/\"7\""), Some(Versions::OneOf(vec![7])));
        assert_eq!(excluded("*"), Some(Versions::Any));
    }

    #[test]
    fn known_representation_is_not_sent_again() {
        let answer = |status: StatusCode| {
            let mut answer = Response::new(Body::from("{}"));
            *answer.status_mut() = status;
            answer.headers_mut().extend([(header::ETAG, HeaderValue::from_static("\"7-0f\""))]);
            answer
        };
        for (method, status, tag, expected) in [
            (Method::GET, StatusCode::OK, "\"7-0f\"", StatusCode::NOT_MODIFIED),
            (Method::HEAD, StatusCode::OK, "\"6\", W/\"7-0f\"", StatusCode::NOT_MODIFIED),
            (Method::GET, StatusCode::OK, "*", StatusCode::NOT_MODIFIED),
            (Method::GET, StatusCode::OK, "\"7\"", StatusCode::OK),
            (Method::POST, StatusCode::OK, "\"7-0f\"", StatusCode::OK),
            (Method::GET, StatusCode::NOT_FOUND, "*", StatusCode::NOT_FOUND),
        ] {
            let mut response = answer(status);
            let known = KnownRepresentations::of(&headers(&header::IF_NONE_MATCH, &[tag]));
            known.skip_body(&method, &mut response);
            assert_eq!(response.status(), expected, "{method} {tag}");
            assert!(response.headers().contains_key(header::ETAG));
        }
    }
}

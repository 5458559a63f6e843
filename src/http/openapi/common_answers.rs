//! The answers that all operations of a kind have in common, whatever their handler: each is listed here once, and
//! added to the document with its body and its headers.

use utoipa::openapi::header::{Header, HeaderBuilder};
use utoipa::openapi::path::Operation;
use utoipa::openapi::schema::{ObjectBuilder, OneOfBuilder};
use utoipa::openapi::{Components, ContentBuilder, Ref, RefOr, Response};

use super::builders::{integer, string};

const UUID: &str = "^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$";
const ENTITY_TAG: &str = "^\"[0-9a-f-]+\"$";

/// What determines the common answers of an operation.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Feature {
    /// A token is required. Its user is looked up in a read model, at a position that the client may name.
    Token,
    /// A body is expected.
    Body,
    /// It accepts an `Idempotency-Key`.
    Key,
    /// It changes something. A key is compared with the whole request, so a body is read even where none is
    /// expected.
    Write,
    /// Any parameter may be invalid.
    Parameters,
}

/// The features of an operation.
pub(super) fn features(method: &str, operation: &Operation) -> Vec<Feature> {
    let has_token = operation.responses.responses.contains_key("401");
    let has_key = parameter_names(operation).any(|name| name == "Idempotency-Key");
    let has_parameters = parameter_names(operation).next().is_some();
    let candidates = [
        (Feature::Token, has_token),
        (Feature::Body, operation.request_body.is_some()),
        (Feature::Key, has_key),
        (Feature::Write, has_key || has_token && method != "get"),
        (Feature::Parameters, has_parameters),
    ];
    candidates.into_iter().filter_map(|(feature, is_present)| is_present.then_some(feature)).collect()
}

fn parameter_names(operation: &Operation) -> impl Iterator<Item = &str> {
    operation.parameters.iter().flatten().filter_map(|parameter| match parameter {
        RefOr::T(parameter) => Some(parameter.name.as_str()),
        RefOr::Ref(_) => None,
    })
}

/// Status, code and meaning.
type Answer = (&'static str, &'static str, &'static str);

/// The errors of all operations, and those of operations with any of these features.
const OF_ALL: [Answer; 2] = [
    ("500", "internal", "a defect of the service, or damaged data"),
    ("503", "busy", "too many requests are in progress"),
];
const BY_FEATURE: [(&[Feature], &[Answer]); 5] = [
    (
        &[Feature::Token],
        &[
            ("401", "not_authenticated", "no bearer token"),
            ("403", "invalid_token", "the token is not valid; also `inactive_user` and `token_revoked`"),
            ("404", "not_found", "the user of the token does not exist"),
            ("429", "rate_limited", "too many machine tokens from this address were not valid"),
        ],
    ),
    (
        &[Feature::Body, Feature::Write],
        &[
            ("400", "unreadable_body", "the body broke off, or is not text"),
            ("408", "body_too_slow", "the body took longer than 30 s"),
            ("413", "body_too_large", "the body is larger than 64 KiB"),
        ],
    ),
    (
        &[Feature::Token, Feature::Body, Feature::Parameters],
        &[("422", "validation_error", "the request is not valid; `detail` lists the errors")],
    ),
    (
        &[Feature::Key],
        &[
            ("409", "still_running", "a request with this `Idempotency-Key` is in progress"),
            ("410", "erased", "what a request with this `Idempotency-Key` created has been erased"),
            ("422", "idempotency_key_reused", "the `Idempotency-Key` was used for another request"),
            ("503", "outcome_unknown", "it may have been written: retry with the same `Idempotency-Key`"),
            ("503", "clock_jumped", "the clock of the service is wrong; nothing was written"),
        ],
    ),
    (
        &[Feature::Token, Feature::Body],
        &[
            ("503", "starting", "the service is opening its database"),
            ("503", "unavailable", "the database is out of reach; nothing was written"),
            ("503", "projection_behind", "a read model is behind the log"),
            ("503", "row_tampered", "stored data was changed outside the service; without `Retry-After`"),
        ],
    ),
];

/// Adds the common answers, and the body and the headers of all answers.
pub(super) fn add_common_answers(operation: &mut Operation, features: &[Feature]) {
    let responses = &mut operation.responses.responses;
    // Before the limit that all operations with a token have: it is none of the hashing queue.
    let is_limit = |response: &RefOr<Response>| match response {
        RefOr::T(Response { description, .. }) => description.contains("`rate_limited`"),
        RefOr::Ref(_) => false,
    };
    let is_limited = responses.get("429").is_some_and(is_limit);
    let has = |any: &[Feature]| any.iter().any(|feature| features.contains(feature));
    let by_feature = BY_FEATURE.iter().filter(|(any, _)| has(any)).flat_map(|(_, answers)| *answers);
    for (status, code, meaning) in by_feature.chain(&OF_ALL) {
        let response = responses.entry((*status).to_owned()).or_insert_with(|| RefOr::T(Response::new("")));
        let RefOr::T(Response { description, .. }) = response else { continue };
        if !description.contains(&format!("`{code}`")) {
            let separator = if description.is_empty() { "" } else { "; " };
            description.extend([separator, "`", code, "`: ", meaning]);
        }
    }
    for (status, response) in responses {
        let RefOr::T(response) = response else { continue };
        add_error_body(status, response, has(&[Feature::Key]));
        add_headers(status, response, is_limited);
    }
}

fn add_error_body(status: &str, response: &mut Response, has_key: bool) {
    if !status.starts_with(['4', '5']) || !response.content.is_empty() {
        return;
    }
    let schema = Ref::from_schema_name;
    let content = match status {
        "422" if has_key => {
            let either = OneOfBuilder::new().item(schema("ValidationError"));
            ContentBuilder::new().schema(Some(either.item(schema("IdempotencyKeyReused"))))
        }
        "422" => ContentBuilder::new().schema(Some(schema("ValidationError"))),
        _ => ContentBuilder::new().schema(Some(schema("ApiError"))),
    };
    response.content.insert("application/json".to_owned(), RefOr::T(content.build()));
}

const RETRY: [&str; 1] = ["Retry-After"];
const LIMITS: [&str; 3] = ["Retry-After", "RateLimit", "RateLimit-Policy"];

/// Refers to the shared descriptions of headers, also where a handler names a header itself.
fn add_headers(status: &str, response: &mut Response, is_limited: bool) {
    let added: &[&str] = match status {
        "401" => &["WWW-Authenticate"],
        "429" => &LIMITS,
        // A full hashing queue is a limit, too.
        "503" if is_limited => &LIMITS,
        "503" => &RETRY,
        "304" => &["ETag"],
        _ => &[],
    };
    let of_handler: Vec<_> = response.headers.keys().cloned().collect();
    let known = shared_headers();
    let names = of_handler.iter().map(String::as_str).chain(added.iter().copied()).chain(["X-Request-Id"]);
    for name in names.filter(|name| known.iter().any(|(known, _)| known == name)) {
        let reference = Ref::new(format!("#/components/headers/{name}"));
        response.headers.insert(name.to_owned(), RefOr::Ref(reference));
    }
}

/// Adds the headers that answers refer to.
pub(super) fn add_shared_headers(components: &mut Components) {
    let headers = shared_headers().map(|(name, header)| (name.to_owned(), RefOr::T(header)));
    components.headers.extend(headers);
}

fn shared_headers() -> [(&'static str, Header); 8] {
    let header = |name, description: &str, schema: ObjectBuilder| {
        (name, HeaderBuilder::new().description(Some(description)).schema(Some(schema)).build())
    };
    [
        header(
            "X-Request-Id",
            "The id of the request, as in the logs.",
            string("A UUID.").pattern(Some(UUID)),
        ),
        header(
            "Aegis-Position",
            "The position of the last event that the write appended; left out if it appended none. Send it as \
             `Aegis-Min-Position` to read what was written.",
            integer("A position of the log.").minimum(Some(1)),
        ),
        header(
            "ETag",
            "The version of what is shown, for `If-Match` and `If-None-Match`.",
            string("A strong entity tag.").pattern(Some(ENTITY_TAG)),
        ),
        header("Location", "The path of what was created.", string("An absolute path.").pattern(Some("^/"))),
        header("Retry-After", "When to try again.", integer("Seconds.").minimum(Some(1))),
        header(
            "RateLimit",
            "The limit that is exhausted (draft-ietf-httpapi-ratelimit-headers).",
            string("A list."),
        ),
        header("RateLimit-Policy", "The quota of that limit.", string("A list.")),
        header(
            "WWW-Authenticate",
            "How to authenticate.",
            string("A challenge of the scheme `Bearer` or `Basic`."),
        ),
    ]
}

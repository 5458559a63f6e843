use serde_json::{Value, json};
use store::{AppendError, Position, StoreError};

use super::*;
use crate::command::CommandError;
use crate::crypto::HashingError;
use crate::http::request_id::RequestIds;
use crate::query::QueryError;

const REQUEST: &str = "0193e2b4-0000-7000-8000-000000000001";

fn answer(error: ApiError) -> (u16, Value) {
    let body = error.render(&id());
    (error.into_response().status().as_u16(), serde_json::from_slice(&body).unwrap())
}

fn id() -> RequestId {
    let headers = axum::http::HeaderMap::from_iter([(
        crate::http::headers::REQUEST_ID,
        axum::http::HeaderValue::from_static(REQUEST),
    )]);
    RequestId::from_headers(&headers, &RequestIds::new(&store::Env::system()))
}

#[test]
fn an_error_has_detail_code_and_request_id() {
    let expected = json!({
        "detail": "The user with this email already exists in the system.", "code": "email_taken", "request_id": REQUEST
    });
    assert_eq!(answer(ApiError::EmailTaken), (400, expected));
}

#[test]
fn a_failed_login_has_the_oauth_error_fields() {
    let expected = json!({
        "detail": "Incorrect email or password", "error": "invalid_grant",
        "error_description": "Incorrect email or password", "code": "invalid_credentials", "request_id": REQUEST
    });
    assert_eq!(answer(ApiError::InvalidCredentials), (400, expected));
    let error = ValidationError::missing(Loc::Field("username"), Value::Null);
    let (status, body) = answer(ApiError::InvalidForm { errors: vec![error], error: "invalid_request" });
    assert_eq!((status, &body["error"]), (422, &json!("invalid_request")));
    assert_eq!(body["detail"][0]["loc"], json!(["body", "username"]));
}

#[test]
fn a_missing_token_is_challenged_and_busy_has_retry_after() {
    let headers = |error: ApiError| error.into_response().headers().clone();
    assert_eq!(headers(ApiError::NotAuthenticated)[header::WWW_AUTHENTICATE], "Bearer");
    let hashing_queue = || ApiError::from(HashingError::Busy { share: 128 });
    for full in [hashing_queue(), AppendError::Busy.into(), CommandError::from(AppendError::Busy).into()] {
        assert_eq!(headers(full)[header::RETRY_AFTER], "1");
    }
    assert_eq!(headers(hashing_queue())["ratelimit"], "\"hashing-queue\";r=0;t=1");
    let policy = "\"hashing-queue\";q=128;qu=\"concurrent-requests\"";
    assert_eq!(headers(hashing_queue())["ratelimit-policy"], policy);
    assert!(!headers(ApiError::Forbidden).contains_key(header::RETRY_AFTER));
}

#[test]
fn internal_causes_are_never_disclosed() {
    let secret = "mongodb://aegis:s3cret@db";
    let unavailable = || StoreError::Unavailable { what: secret.to_owned(), source: None };
    for (error, status, code) in [
        (ApiError::from(unavailable()), 503, "unavailable"),
        (ApiError::from(StoreError::from(store::Corruption::missing(secret))), 500, "internal"),
        (
            ApiError::from(StoreError::from(store::RefusalReason::InvalidUrl { reason: secret.to_owned() })),
            500,
            "internal",
        ),
        (ApiError::from(AppendError::Unknown(unavailable())), 503, "outcome_unknown"),
        (ApiError::from(AppendError::Invalid(secret.to_owned())), 500, "internal"),
        (
            ApiError::from(QueryError::Behind { name: "users", wanted: Position::new(7) }),
            503,
            "projection_behind",
        ),
        (ApiError::from(CommandError::Contended(crate::command::Aggregate::System)), 503, "busy"),
        (ApiError::from(AppendError::Busy), 503, "busy"),
    ] {
        assert!(error.cause().is_some());
        let (answered, body) = answer(error);
        assert_eq!((answered, body["code"].as_str()), (status, Some(code)));
        assert!(!body.to_string().contains("s3cret"), "{body}");
    }
}

#[test]
fn a_position_beyond_the_head_is_a_bad_header() {
    let error = QueryError::BeyondHead { wanted: Position::new(9), head: Position::new(7) };
    let (status, body) = answer(error.into());
    assert_eq!(status, 422);
    assert_eq!(
        body["detail"],
        json!([{"type": "less_than_equal", "loc": ["header", "aegis-min-position"],
                "msg": "Input should be less than or equal to 7", "input": "9", "ctx": {"le": 7}}])
    );
}

#[test]
fn syntax_errors_name_the_character() {
    let error = serde_json::to_value(ValidationError::invalid_json(9, "Expecting value")).unwrap();
    assert_eq!(
        error,
        json!({"type": "json_invalid", "loc": ["body", 9], "msg": "JSON decode error", "input": {},
               "ctx": {"error": "Expecting value"}})
    );
}

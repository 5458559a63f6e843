//! Request bodies: media types, encodings, size limits, malformed JSON.

use serde_json::{Value, json};

use crate::support::{PASSWORD, Response, Store, TestApp, credentials, on_both_stores, raw};

on_both_stores! {
    byte_order_mark_is_ignored
    charset_and_json_suffix_media_types_are_accepted
    invalid_json_is_reported_with_its_offset
    non_object_json_is_reported
    other_content_types_are_not_parsed_as_json
    body_limit_is_64_kib
    oversized_body_is_rejected_with_and_without_content_length
    invalid_utf_8_and_nul_bytes_are_rejected
    deep_nesting_is_rejected
    duplicate_fields_and_unusual_numbers_are_handled
    out_of_range_number_is_a_validation_error
}

async fn post(app: &TestApp, content_type: &str, body: impl Into<Vec<u8>>) -> Response {
    app.post("/auth/signup").body(content_type, body.into()).send().await
}

async fn byte_order_mark_is_ignored(store: Store) {
    let app = TestApp::start(store).await;
    let body = format!("\u{FEFF}{}", credentials("ada"));
    post(&app, "application/json", body).await.expect(201);
}

async fn charset_and_json_suffix_media_types_are_accepted(store: Store) {
    let app = TestApp::start(store).await;
    for (number, content_type) in [
        "application/json; charset=utf-8",
        "application/json;charset=UTF-8",
        "Application/JSON",
        "application/vnd.api+json",
        "application/problem+json; charset=utf-8",
    ]
    .iter()
    .enumerate()
    {
        let body = credentials(&format!("ada{number}")).to_string();
        post(&app, content_type, body).await.expect(201);
    }
}

async fn invalid_json_is_reported_with_its_offset(store: Store) {
    let app = TestApp::start(store).await;
    for body in
        ["", "{", "{\"email\": }", "nonsense", "{'email': 'ada'}", "{\"a\":1,}", "{} {}", "{\"a\": \"\n\"}"]
    {
        let faults = post(&app, "application/json", body).await.validation_errors();
        // FastAPI treats an empty body as missing.
        if body.is_empty() {
            continue;
        }
        assert_eq!(faults.len(), 1, "{faults:?}");
        assert_eq!(faults[0]["type"], "json_invalid", "{body}");
        assert_eq!(faults[0]["msg"], "JSON decode error");
        assert_eq!(faults[0]["loc"][0], "body");
        let offset = faults[0]["loc"][1].as_u64().and_then(|offset| usize::try_from(offset).ok());
        let offset = offset.unwrap_or_else(|| panic!("no offset: {faults:?}"));
        assert!(offset <= body.len(), "{offset} in {body}");
    }
}

async fn non_object_json_is_reported(store: Store) {
    let app = TestApp::start(store).await;
    for body in ["[]", "1", "true", "\"text\"", "[{\"email\":\"ada@example.com\"}]"] {
        assert_no_object(&post(&app, "application/json", body).await);
    }
}

async fn other_content_types_are_not_parsed_as_json(store: Store) {
    let app = TestApp::start(store).await;
    let body = credentials("ada").to_string();
    for content_type in ["text/plain", "application/xml", "application/octet-stream", "application/jsonx"] {
        let answer = post(&app, content_type, body.clone()).await;
        assert!(!answer.text().contains(PASSWORD), "a password is shown: {}", answer.text());
        assert_no_object(&answer);
    }
    let form = "email=ada%40example.com&username=ada&password=correct+horse+battery+staple";
    let answer = post(&app, "application/x-www-form-urlencoded", form).await;
    assert!(!answer.text().contains("battery"), "a password is shown: {}", answer.text());
    assert_no_object(&answer);
}

#[track_caller]
fn assert_no_object(answer: &Response) {
    let faults = answer.validation_errors();
    assert_eq!(faults.len(), 1, "{faults:?}");
    assert_eq!(faults[0]["type"], "model_attributes_type", "{faults:?}");
    assert_eq!(faults[0]["loc"], json!(["body"]));
    assert_eq!(faults[0]["msg"], "Input should be a valid dictionary or object to extract fields from");
}

fn padded(length: usize) -> Vec<u8> {
    let mut body: Value = credentials("ada");
    body["padding"] = "".into();
    body["padding"] = "x".repeat(length - body.to_string().len()).into();
    body.to_string().into_bytes()
}

async fn body_limit_is_64_kib(store: Store) {
    let app = TestApp::start(store).await;
    let answer = post(&app, "application/json", padded(64 * 1024 + 1)).await;
    let body = answer.error_body(413);
    assert!(body["detail"].is_string() && body["code"].is_string(), "{body}");
    post(&app, "application/json", padded(64 * 1024)).await.expect(201);
}

async fn oversized_body_is_rejected_with_and_without_content_length(store: Store) {
    let app = TestApp::start(store).await;
    let head = "POST /api/v1/auth/signup HTTP/1.1\r\nHost: a\r\nContent-Type: application/json\r\nConnection: close\r\n";
    let announced = format!("{head}Content-Length: 99999999\r\nExpect: 100-continue\r\n\r\n");
    let answer = raw(app.address(), announced.as_bytes()).await.unwrap();
    assert_eq!(answer.status, 413, "{}", answer.head);
    let chunk = format!("10000\r\n{}\r\n", "x".repeat(0x10000));
    let chunked = format!("{head}Transfer-Encoding: chunked\r\n\r\n{chunk}{chunk}0\r\n\r\n");
    let answer = raw(app.address(), chunked.as_bytes()).await.unwrap();
    assert_eq!(answer.status, 413, "{}", answer.head);
    let form = "x".repeat(64 * 1024 + 1);
    app.post("/auth/login/access-token")
        .body("application/x-www-form-urlencoded", form)
        .send()
        .await
        .expect(413);
}

async fn invalid_utf_8_and_nul_bytes_are_rejected(store: Store) {
    let app = TestApp::start(store).await;
    let text = credentials("ada").to_string();
    for bad in [b"\xFF".as_slice(), b"\xC3\x28", b"\xED\xA0\x80", b"\xF4\x90\x80\x80", b"\x00", b"\xC0\xAF"] {
        let mut body = text.replace("ada\"", "ad~\"").into_bytes();
        let place = body.iter().position(|byte| *byte == b'~').unwrap();
        body.splice(place..=place, bad.iter().copied());
        let answer = post(&app, "application/json", body).await;
        assert!((400..500).contains(&answer.status()), "{bad:?} gave {}", answer.text());
        assert!(!answer.json()["detail"].is_null());
    }
    for escape in ["\\u0000", "\\ud800", "\\udc00\\ud800"] {
        let answer = post(&app, "application/json", text.replace("ada\"", &format!("ada{escape}\""))).await;
        assert_eq!(answer.status(), 422, "{escape} gave {}", answer.text());
    }
}

async fn deep_nesting_is_rejected(store: Store) {
    let app = TestApp::start(store).await;
    for (open, close) in [("[", "]"), ("{\"a\":", "}")] {
        for depth in [200, 5_000] {
            let body = format!("{}1{}", open.repeat(depth), close.repeat(depth));
            let answer = post(&app, "application/json", body.clone()).await;
            assert!((400..500).contains(&answer.status()), "{}", answer.text());
            let inside = format!("{{\"email\":{body},\"username\":\"ada\",\"password\":\"long enough\"}}");
            let answer = post(&app, "application/json", inside).await;
            assert!((400..500).contains(&answer.status()), "{}", answer.text());
        }
    }
}

async fn duplicate_fields_and_unusual_numbers_are_handled(store: Store) {
    let app = TestApp::start(store).await;
    let twice = format!("{{\"username\":\"first\",{}", &credentials("second").to_string()[1..]);
    let answer = post(&app, "application/json", twice).await;
    assert!([201, 422].contains(&answer.status()), "{}", answer.text());
    for number in ["-0", "1.5e300", "123456789012345678901234567890", "NaN", "Infinity", "0x10"] {
        let body = format!("{{\"email\":{number},\"username\":\"ada\",\"password\":\"long enough\"}}");
        let answer = post(&app, "application/json", body).await;
        assert_eq!(answer.status(), 422, "{number}: {}", answer.text());
        assert!(!answer.validation_errors().is_empty());
    }
}

async fn out_of_range_number_is_a_validation_error(store: Store) {
    let app = TestApp::start(store).await;
    // Valid JSON (RFC 8259 §6), which Python reads as infinity.
    let body = "{\"email\":1e999,\"username\":\"ada\",\"password\":\"long enough\"}";
    let faults = post(&app, "application/json", body).await.validation_errors();
    assert_eq!((&faults[0]["type"], &faults[0]["loc"]), (&json!("string_type"), &json!(["body", "email"])));
}

//! The SSRF guard: addresses that webhooks never reach.

use domain::Role;
use serde_json::{Value, json};

use super::{Webhook, sign_ups};
use crate::support::{Store, TestApp, WebhookReceiver, eventually, on_both_stores};

on_both_stores! {
    non_public_addresses_are_rejected_at_registration
    ssrf_guard_rechecks_the_address_at_delivery
    invalid_urls_are_rejected
}

/// Loopback, link-local and private addresses in every notation.
const FORBIDDEN: [&str; 16] = [
    "https://127.0.0.1/",
    "https://localhost/",
    "https://2130706433/",
    "https://0x7f.1/",
    "https://0/",
    "https://[::1]/",
    "https://[::ffff:127.0.0.1]/",
    "https://[::ffff:7f00:1]/",
    "https://[64:ff9b::7f00:1]/",
    "https://169.254.169.254/latest/meta-data/",
    "https://[::ffff:169.254.169.254]/",
    "https://[fe80::1]/",
    "https://[fd00:ec2::254]/",
    "https://10.0.0.1/",
    "https://192.168.1.1:8443/",
    "https://localhost.:443/",
];

async fn non_public_addresses_are_rejected_at_registration(store: Store) {
    let app = TestApp::start_with(store, |settings| settings.webhooks.allow_private.clear()).await;
    let subscriber = app.user_with(Role::Subscriber).await;
    for url in FORBIDDEN {
        let refused = subscriber.post("/webhooks").json(&json!({"url": url})).send().await.expect(422).json();
        let fault = &refused["detail"][0];
        assert_eq!(
            (&fault["type"], &fault["loc"]),
            (&json!("value_error"), &json!(["body", "url"])),
            "{url}"
        );
        let why = fault["ctx"]["reason"].as_str().unwrap();
        let expected = [
            "the host resolves to an address that webhooks may not reach",
            "the host does not resolve to any address",
        ];
        assert!(expected.contains(&why), "{url}: {why}");
    }
    // Unencrypted requests to the public internet are rejected.
    let plain = json!({"url": "http://8.8.8.8/"});
    let refused = subscriber.post("/webhooks").json(&plain).send().await.expect(422).json();
    assert_eq!(refused["detail"][0]["ctx"]["reason"], "https is required");
    assert_eq!(subscriber.get("/webhooks").send().await.expect(200).json(), json!({"webhooks": []}));
}

async fn ssrf_guard_rechecks_the_address_at_delivery(store: Store) {
    let allowed = TestApp::start_with(store.clone(), |settings| {
        settings.webhooks.allow_private =
            ["127.0.0.0/8", "::1/128"].map(|network| network.parse().unwrap()).to_vec();
    })
    .await;
    let receiver = WebhookReceiver::start().await;
    let subscriber = allowed.user_with(Role::Subscriber).await;
    // Registered while permitted; a name that resolves differently later is handled the same way.
    for host in ["127.0.0.1", "localhost", "[::ffff:127.0.0.1]", "2130706433"] {
        let head = allowed.services().store.head().await.unwrap().position.get();
        Webhook::of(&subscriber, &json!({"url": receiver.url(host), "after": head})).await;
    }
    allowed.stopped().await;
    let before = receiver.connections();
    let app = TestApp::start_with(store, |settings| settings.webhooks.allow_private.clear()).await;
    sign_ups(&app, "user", 2).await;
    let subscriber = subscriber.at(&app);
    let failing = |shown: &Value| {
        let webhooks = shown["webhooks"].as_array().unwrap();
        webhooks.len() == 4
            && webhooks.iter().all(|webhook| webhook["failing"]["attempts"].as_u64() > Some(1))
    };
    let shown = eventually("refusals", async || {
        Some(subscriber.get("/webhooks").send().await.expect(200).json()).filter(failing)
    })
    .await;
    for webhook in shown["webhooks"].as_array().unwrap() {
        let why = "the host resolves to an address that webhooks may not reach";
        assert_eq!(webhook["failing"]["error"], why, "{webhook}");
        let tested = subscriber
            .post(&format!("/webhooks/{}/test", webhook["id"].as_str().unwrap()))
            .send()
            .await
            .expect(200)
            .json();
        assert_eq!((&tested["delivered"], &tested["error"]), (&json!(false), &json!(why)));
    }
    assert_eq!(receiver.connections(), before, "the forbidden address was connected to");
}

async fn invalid_urls_are_rejected(store: Store) {
    let app = TestApp::start(store).await;
    let subscriber = app.user_with(Role::Subscriber).await;
    for url in
        ["", "events", "ftp://example.com/", "https://", "https://a:b@example.com/", "https://example.com/#x"]
    {
        let refused = subscriber.post("/webhooks").json(&json!({"url": url})).send().await.expect(422).json();
        assert_eq!(refused["detail"][0]["type"], "value_error", "{url}");
        assert!(!refused.to_string().contains("a:b"), "a password is shown: {refused}");
    }
    // Percent-encoding makes the URL longer.
    let long = json!({"url": format!("https://example.com/{}", "é".repeat(1_000))});
    subscriber.post("/webhooks").json(&long).send().await.expect(422);
    for (body, kind, field) in [
        (json!({}), "missing", "url"),
        (json!({"url": 1}), "string_type", "url"),
        (json!({"url": "https://example.com/", "types": "UserRegistered"}), "list_type", "types"),
        (json!({"url": "https://example.com/", "types": ["UserRegisterd"]}), "enum", "types"),
        (json!({"url": "https://example.com/", "types": [1]}), "string_type", "types"),
        (json!({"url": "https://example.com/", "after": -1}), "greater_than_equal", "after"),
        (json!({"url": "http://127.0.0.1/", "after": 1_000_000}), "less_than_equal", "after"),
        (json!({"url": "https://example.com/", "description": ""}), "string_too_short", "description"),
    ] {
        let refused = subscriber.post("/webhooks").json(&body).send().await.expect(422).json();
        let fault = &refused["detail"][0];
        assert_eq!((&fault["type"], &fault["loc"]), (&json!(kind), &json!(["body", field])), "{body}");
    }
}

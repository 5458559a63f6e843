//! Machine tokens and their introspection.

use domain::{Role, TokenId};
use jiff::SignedDuration;
use reqwest::Method;
use serde_json::{Value, json};
use store::{Append, Clock, ExpectedVersion, StreamId, StreamWrite};

use crate::support::{
    Deployment, MASTER_KEY, MachineToken, Response, Store, TestApp, User, captured_logs, contains_text, dump,
    on_both_stores,
};

on_both_stores! {
    issued_token_is_shown_once_and_never_stored
    invalid_tokens_are_not_issued
    repeated_issue_is_answered_without_the_token
    tokens_are_listed_in_pages
    revocation_is_exact_on_every_node_while_projections_are_halted
    token_expires_by_the_clock
    token_is_refused_where_a_user_is_needed
    token_acts_under_its_own_name
    use_is_recorded_once_a_day
    open_feed_ends_with_the_token
    events_of_a_token_without_the_role_are_found
    introspection_tells_what_a_token_is_worth
    introspection_accepts_basic_and_rejects_faults
    void_machine_tokens_are_limited_by_address
    command_line_issues_lists_and_revokes_tokens
}

async fn status_of(by: &User, id: &str) -> Value {
    let page = by.get("/tokens").send().await.expect(200).json();
    page["tokens"].as_array().unwrap().iter().find(|token| token["id"] == id).unwrap().clone()
}

async fn introspect(app: &TestApp, client: &str, token: &str) -> Value {
    let request = app.post("/auth/introspect").bearer(client);
    request.form(&[("token", token)]).send().await.expect(200).json()
}

async fn issued_token_is_shown_once_and_never_stored(store: Store) {
    let app = TestApp::start(store).await;
    let admin = app.admin().await;
    let body = json!({"name": " billing ", "roles": ["subscriber", "operator"]});
    let issued = admin.post("/tokens").json(&body).send().await.expect(201);
    assert!(!issued.header("Aegis-Position").is_empty());
    let issued = issued.json();
    assert_eq!(issued["name"], "billing");
    assert_eq!((&issued["roles"], &issued["state"]), (&json!(["operator", "subscriber"]), &json!("active")));
    assert_eq!(issued["issued_by"], format!("user-{}", admin.id));
    let token = issued["token"].as_str().unwrap();
    app.get("/projections").bearer(token).send().await.expect(200);
    app.get("/users").bearer(token).send().await.expect(403);
    let listed = status_of(&admin, issued["id"].as_str().unwrap()).await;
    assert!(listed.get("token").is_none(), "{listed}");
    let secret = token.rsplit_once('_').unwrap().1;
    let shown = serde_json::to_string(&admin.whole_log().await).unwrap();
    assert!(!shown.contains(secret) && !shown.contains("secret_hash"), "{shown}");
    assert!(!captured_logs().contains(secret));
    for (place, bytes) in dump(app.store()).await {
        assert!(!contains_text(&bytes, secret), "{place}");
    }
}

async fn invalid_tokens_are_not_issued(store: Store) {
    let app = TestApp::start(store).await;
    let admin = app.admin().await;
    let head = app.head().await;
    for (body, field) in [
        (json!({"roles": ["admin"]}), "name"),
        (json!({"name": " ", "roles": ["admin"]}), "name"),
        (json!({"name": "x".repeat(65), "roles": ["admin"]}), "name"),
        (json!({"name": "a\nb", "roles": ["admin"]}), "name"),
        (json!({"name": "x"}), "roles"),
        (json!({"name": "x", "roles": []}), "roles"),
        (json!({"name": "x", "roles": ["root"]}), "roles"),
        (json!({"name": "x", "roles": ["admin"], "expires_at": "soon"}), "expires_at"),
        (json!({"name": "x", "roles": ["admin"], "expires_at": "2020-01-01T00:00:00Z"}), "expires_at"),
        (json!({"name": "x", "roles": ["admin"], "expires_at": 7}), "expires_at"),
    ] {
        let answer = admin.post("/tokens").json(&body).send().await.expect(422).json();
        assert_eq!(answer["detail"][0]["loc"], json!(["body", field]), "{body}: {answer}");
    }
    admin.delete("/tokens/0193e2b4-0000-7000-8000-000000000001").send().await.expect(404);
    admin.delete("/tokens/x").send().await.expect(404);
    assert_eq!(app.head().await, head);
}

async fn repeated_issue_is_answered_without_the_token(store: Store) {
    let app = TestApp::start(store).await;
    let admin = app.admin().await;
    let issue = async || {
        let request = admin.post("/tokens").header("Idempotency-Key", "k");
        request.json(&json!({"name": "billing", "roles": ["service"]})).send().await.expect(201).json()
    };
    let (first, second) = (issue().await, issue().await);
    assert_eq!(first["id"], second["id"]);
    assert!(first["token"].is_string() && second.get("token").is_none(), "{second}");
    assert_eq!(admin.get("/tokens").send().await.expect(200).json()["tokens"].as_array().unwrap().len(), 1);
}

async fn tokens_are_listed_in_pages(store: Store) {
    let app = TestApp::start(store).await;
    let admin = app.admin().await;
    let mut issued = Vec::new();
    for _ in 0..5 {
        issued.push(MachineToken::issue(&admin, &[Role::Service]).await.id);
        app.sign_up(&format!("user{}", issued.len())).await;
    }
    let (mut listed, mut after) = (Vec::new(), json!(0));
    loop {
        let page = admin.get(&format!("/tokens?limit=2&after={after}")).send().await.expect(200).json();
        let tokens = page["tokens"].as_array().unwrap().iter();
        listed.extend(tokens.map(|token| token["id"].as_str().unwrap().to_owned()));
        let Some(next) = page.get("next") else { break };
        after = next.clone();
    }
    assert_eq!(listed, issued);
}

async fn revocation_is_exact_on_every_node_while_projections_are_halted(store: Store) {
    let app = TestApp::start(store).await;
    let admin = app.admin().await;
    let token = MachineToken::issue(&admin, &[Role::Operator]).await;
    let other = app.start_second_node().await;
    for node in [&app, &other] {
        node.get("/projections").bearer(&token.token).send().await.expect(200);
    }
    app.services().projector().unwrap().stop().await;
    let revoke = async || admin.delete(&format!("/tokens/{}", token.id)).send().await.expect(204);
    assert!(!revoke().await.header("Aegis-Position").is_empty());
    for node in [&other, &app] {
        let refused = node.get("/projections").bearer(&token.token).send().await;
        assert_eq!(refused.code(403), "token_revoked");
    }
    let head = app.head().await;
    revoke().await;
    assert_eq!(app.head().await, head);
    assert_eq!(status_of(&admin, &token.id).await["state"], "revoked");
}

async fn token_expires_by_the_clock(store: Store) {
    let app = TestApp::start(store).await;
    let admin = app.admin().await;
    let end = app.clock.now() + SignedDuration::from_hours(1);
    let body = json!({"name": "x", "roles": ["operator"], "expires_at": end.to_string()});
    let issued = admin.post("/tokens").json(&body).send().await.expect(201).json();
    let token = issued["token"].as_str().unwrap();
    app.clock.set(end - SignedDuration::from_millis(1));
    app.get("/projections").bearer(token).send().await.expect(200);
    app.clock.set(end);
    assert_eq!(app.get("/projections").bearer(token).send().await.code(403), "invalid_token");
    assert_eq!(status_of(&admin, issued["id"].as_str().unwrap()).await["state"], "expired");
}

async fn token_is_refused_where_a_user_is_needed(store: Store) {
    let app = TestApp::start(store).await;
    let admin = app.admin().await;
    for role in [Role::Admin, Role::Subscriber] {
        let token = MachineToken::issue(&admin, &[role]).await;
        for (method, path) in [
            (Method::GET, "/users/me"),
            (Method::GET, "/users/me/logins"),
            (Method::GET, "/users/me/export"),
            (Method::DELETE, "/users/me"),
        ] {
            let refused = app.request(method, path).bearer(&token.token).send().await;
            assert_eq!(refused.code(403), "user_required", "{path}");
        }
        let body = json!({"url": "https://example.com/events"});
        let refused = app.post("/webhooks").bearer(&token.token).json(&body).send().await;
        assert_eq!(refused.code(403), "user_required");
    }
}

async fn token_acts_under_its_own_name(store: Store) {
    let app = TestApp::start(store).await;
    let (admin, ada) = (app.admin().await, app.sign_up("ada").await);
    let token = MachineToken::issue(&admin, &[Role::Admin]).await;
    let deactivate = app.post(&format!("/users/{}/deactivate", ada.id)).bearer(&token.token);
    deactivate.json(&json!({})).send().await.expect(200);
    let log = admin.whole_log().await;
    let event = log.iter().find(|event| event["type"] == "UserDeactivated").unwrap();
    assert_eq!(event["actor"], format!("token-{}", token.id));
    aegis::authority::verify(&app.services().store).await.unwrap();
}

async fn use_is_recorded_once_a_day(store: Store) {
    let app = TestApp::start(store).await;
    let admin = app.admin().await;
    let token = MachineToken::issue(&admin, &[Role::Operator]).await;
    assert_eq!(status_of(&admin, &token.id).await["last_used_on"], Value::Null);
    token.record_use(&app).await;
    let first = status_of(&admin, &token.id).await["last_used_on"].clone();
    let other = app.start_second_node().await;
    let head = app.head().await;
    let id = TokenId::parse(&token.id).unwrap();
    for node in [&app, &other] {
        assert!(!node.services().tokens.record_use("r", id).await.unwrap(), "once a day, whatever the node");
    }
    assert_eq!(app.head().await, head);
    app.clock.set(app.clock.now() + SignedDuration::from_hours(24));
    assert!(app.services().tokens.record_use("r", id).await.unwrap());
    assert_ne!(status_of(&admin, &token.id).await["last_used_on"], first);
}

async fn open_feed_ends_with_the_token(store: Store) {
    let app = TestApp::start(store).await;
    let admin = app.admin().await;
    let token = MachineToken::issue(&admin, &[Role::Subscriber]).await;
    token.record_use(&app).await;
    let head = app.head().await;
    let poll = async {
        let request = app.get(&format!("/events?after={head}&wait=30&types=UserErased")).bearer(&token.token);
        request.send().await
    };
    let revoke = async { admin.delete(&format!("/tokens/{}", token.id)).send().await.expect(204) };
    let (polled, _) = tokio::join!(poll, revoke);
    assert_eq!(polled.code(403), "token_revoked");
}

async fn events_of_a_token_without_the_role_are_found(store: Store) {
    let app = TestApp::start(store).await;
    let (admin, ada) = (app.admin().await, app.sign_up("ada").await);
    let token = MachineToken::issue(&admin, &[Role::Operator]).await;
    let services = app.services();
    aegis::authority::verify(&services.store).await.unwrap();
    let payload = domain::UserEvent::RoleGranted { role: Role::Admin }.encode();
    let event = event_codec::new_event(&store::Env::system(), payload);
    let write = StreamWrite::new(
        StreamId::new(format!("user-{}", ada.id)).unwrap(),
        ExpectedVersion::Any,
        vec![event],
    );
    let append = Append {
        actor: format!("token-{}", token.id),
        request_id: "r".to_owned(),
        writes: vec![write],
        guards: Vec::new(),
        idempotency: None,
    };
    services.store.append(&append).await.unwrap();
    let found = aegis::authority::verify(&services.store).await.unwrap_err();
    assert!(format!("{found:?}").contains("ActorUnauthorized"), "{found:?}");
}

async fn introspection_tells_what_a_token_is_worth(store: Store) {
    let app = TestApp::start(store).await;
    let (admin, ada) = (app.admin().await, app.user_with(Role::Auditor).await);
    let service = MachineToken::issue(&admin, &[Role::Service]).await;
    let machine = MachineToken::issue(&admin, &[Role::Operator]).await;
    let user = introspect(&app, &service.token, &ada.token).await;
    assert_eq!((&user["active"], &user["sub"]), (&json!(true), &json!(ada.id)));
    assert_eq!((&user["scope"], &user["token_type"]), (&json!("auditor"), &json!("Bearer")));
    assert!(user["exp"].as_i64() > user["iat"].as_i64(), "{user}");
    let shown = introspect(&app, &admin.token, &machine.token).await;
    assert_eq!((&shown["active"], &shown["scope"]), (&json!(true), &json!("operator")));
    assert_eq!(shown["sub"], format!("token-{}", machine.id));
    admin.deactivate(&ada.id).send().await.expect(200);
    admin.delete(&format!("/tokens/{}", machine.id)).send().await.expect(204);
    let unknown = format!("aegis_{}_{}", "0".repeat(22), "x".repeat(32));
    for void in [ada.token.as_str(), machine.token.as_str(), "a.b.c", "aegis_", "é", &unknown] {
        assert_eq!(introspect(&app, &service.token, void).await, json!({"active": false}), "{void}");
    }
}

async fn introspection_accepts_basic_and_rejects_faults(store: Store) {
    let app = TestApp::start(store).await;
    let admin = app.admin().await;
    let service = MachineToken::issue(&admin, &[Role::Service]).await;
    let operator = MachineToken::issue(&admin, &[Role::Operator]).await;
    let ask = async |password: &str| {
        let basic = base64::Engine::encode(&base64::prelude::BASE64_STANDARD, format!("billing:{password}"));
        let request = app.post("/auth/introspect").header("Authorization", &format!("Basic {basic}"));
        request.form(&[("token", "a.b.c"), ("token_type_hint", "access_token")]).send().await
    };
    assert_eq!(ask(&service.token).await.expect(200).json(), json!({"active": false}));
    ask(&operator.token).await.expect(403);
    let refused = |answer: &Response, challenge: &str| {
        let body = answer.error_body(401);
        assert_eq!((&body["code"], &body["error"]), (&json!("not_authenticated"), &json!("invalid_client")));
        assert_eq!(body["error_description"], body["detail"]);
        assert_eq!(answer.header("WWW-Authenticate"), challenge);
    };
    let basic = "Basic realm=\"aegis\", charset=\"UTF-8\"";
    for wrong in ["", "password", &admin.token, &service.token.replace('_', "")] {
        refused(&ask(wrong).await, basic);
    }
    let form = [("token", "a.b.c")];
    refused(&app.post("/auth/introspect").form(&form).send().await, "Bearer");
    for void in ["a.b.c", &format!("aegis_{}_{}", "0".repeat(22), "x".repeat(32))] {
        let answer = app.post("/auth/introspect").bearer(void).form(&form).send().await;
        refused(&answer, "Bearer error=\"invalid_token\"");
    }
    let nothing = app.post("/auth/introspect").bearer(&service.token).form(&[("x", "y")]).send().await;
    assert_eq!(nothing.expect(400).json()["error"], "invalid_request");
    admin.delete(&format!("/tokens/{}", service.id)).send().await.expect(204);
    refused(&ask(&service.token).await, basic);
}

async fn void_machine_tokens_are_limited_by_address(store: Store) {
    let app = TestApp::start_with(store, |settings| {
        settings.http.trusted_proxies = vec!["127.0.0.1/32".parse().unwrap()];
    })
    .await;
    app.clock.set("2026-11-22T08:00:00Z".parse().unwrap());
    let admin = app.admin().await;
    let known = MachineToken::issue(&admin, &[Role::Operator]).await;
    let revoked = MachineToken::issue(&admin, &[Role::Operator]).await;
    let from = async |address: &str, token: &str| {
        app.get("/projections").header("X-Forwarded-For", address).bearer(token).send().await
    };
    for token in [&known.token, &revoked.token] {
        from("192.0.2.1", token).await.expect(200);
    }
    admin.delete(&format!("/tokens/{}", revoked.id)).send().await.expect(204);
    // The two above were unknown too. What has not the form of a token costs nothing and is not counted.
    for number in 2..600 {
        let unknown = format!("aegis_{number:022}_{}", "x".repeat(32));
        from("192.0.2.1", &unknown).await.expect(403);
        from("192.0.2.1", &unknown[1..]).await.expect(403);
        from("192.0.2.1", "aegis_x").await.expect(403);
    }
    let unknown = format!("aegis_{}_{}", "0".repeat(22), "x".repeat(32));
    let refused = from("192.0.2.1", &unknown).await;
    assert_eq!(refused.code(429), "rate_limited");
    assert_eq!(refused.header("RateLimit-Policy"), "\"machine-tokens\";q=600;w=60");
    assert_eq!(refused.retry_after(), 1);
    let (rest, last) = known.token.split_at(known.token.len() - 1);
    let with_another_secret = format!("{rest}{}", if last == "0" { "1" } else { "0" });
    from("192.0.2.1", &with_another_secret).await.expect(429);
    let basic = base64::Engine::encode(&base64::prelude::BASE64_STANDARD, format!("x:{unknown}"));
    let introspection = app.post("/auth/introspect").header("Authorization", &format!("Basic {basic}"));
    introspection.header("X-Forwarded-For", "192.0.2.1").form(&[("token", "x")]).send().await.expect(429);
    from("192.0.2.1", &known.token).await.expect(200);
    from("192.0.2.1", &admin.token).await.expect(200);
    // Revoked: not known as valid any more.
    from("192.0.2.1", &revoked.token).await.expect(403);
    from("192.0.2.1", &revoked.token).await.expect(429);
    from("192.0.2.2", &unknown).await.expect(403);
}

async fn command_line_issues_lists_and_revokes_tokens(store: Store) {
    let app = TestApp::start(store.clone()).await;
    let deployment = Deployment::of(store).with("AEGIS_MASTER_KEY", MASTER_KEY);
    let issue = ["tokens", "issue", "--name", "billing", "--role", "operator", "--expires", "90d"];
    let [issued] = deployment.json(&issue).await.try_into().unwrap();
    let (token, id) = (issued["token"].as_str().unwrap(), issued["id"].as_str().unwrap());
    assert!(issued["expires_at"].is_string(), "{issued}");
    app.get("/projections").bearer(token).send().await.expect(200);
    let listed = deployment.json(&["tokens", "list"]).await;
    assert_eq!((listed.len(), &listed[0]["id"], &listed[0]["name"]), (1, &json!(id), &json!("billing")));
    for changed in [true, false] {
        let [revoked] = deployment.json(&["tokens", "revoke", id]).await.try_into().unwrap();
        assert_eq!(revoked["changed"], changed);
    }
    assert_eq!(app.get("/projections").bearer(token).send().await.code(403), "token_revoked");
    let unknown = deployment.run(&["tokens", "revoke", "0193e2b4-0000-7000-8000-000000000001"]).await;
    assert_eq!(unknown.code, Some(1), "{unknown:?}");
    for expires in ["0d", "-1d", "soon"] {
        let flag = format!("--expires={expires}");
        let refused = deployment.run(&["tokens", "issue", "--name", "x", "--role", "admin", &flag]).await;
        assert_eq!(refused.code, Some(2), "{refused:?}");
    }
}

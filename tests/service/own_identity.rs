//! Users change what they log in with: `PATCH /users/me` and `POST /users/me/password`.

use aegis::config::Settings;
use domain::Role;
use futures::future::join_all;
use reqwest::Method;
use serde_json::{Value, json};

use crate::support::{
    PASSWORD, Response, Store, TestApp, User, captured_logs, contains_text, credentials, dump, email_of,
    eventually, on_both_stores, on_one_store,
};

on_both_stores! {
    changed_identity_is_shown_and_logs_in
    email_change_requires_the_right_password
    one_of_fifty_gets_a_contended_email
    two_users_swap_their_names
    names_of_others_are_refused_whatever_they_look_like
    other_fields_change_nothing
    repeated_and_conditional_changes
    changes_are_limited
    history_and_export_show_the_change
    erasure_leaves_no_previous_value
    changed_password_ends_every_token
    changed_password_comes_with_a_token_if_preferred
    wrong_password_tells_nothing_and_delays_the_account
    of_concurrent_password_changes_one_wins
    weak_passwords_are_refused_with_a_reason
    legacy_rule_accepts_weak_passwords
}

mod on_two_nodes {
    use super::{on_one_store, revoked_tokens_are_refused_by_another_node};

    on_one_store! { mongo:
        revoked_tokens_are_refused_by_another_node
    }
}

const NEW_PASSWORD: &str = "a much longer way to say it";

async fn change(user: &User, body: &Value) -> Response {
    user.request(Method::PATCH, "/users/me").json(body).send().await
}

async fn change_password(user: &User, current: &str, new: &str) -> Response {
    let body = json!({"current_password": current, "new_password": new});
    user.post("/users/me/password").json(&body).send().await
}

async fn verify(app: &TestApp) {
    let verified = app.services().proofs.verify(aegis::query::claim_change, None, &mut |_, _| {}).await;
    verified.unwrap();
}

async fn changed_identity_is_shown_and_logs_in(store: Store) {
    let app = TestApp::start(store).await;
    let ada = app.sign_up("ada").await;
    let body =
        json!({"email": " Countess@EXAMPLE.com", "username": "Countess", "current_password": PASSWORD});
    let answer = change(&ada, &body).await.expect(200);
    assert_eq!(answer.header("ETag"), "\"3\"");
    let shown = answer.json();
    assert_eq!((&shown["email"], &shown["username"]), (&json!("Countess@example.com"), &json!("Countess")));
    // The token stays valid, and the next read shows the change.
    let me = app.me(&ada.token).await.expect(200);
    assert_eq!((me.json(), me.header("ETag")), (shown, answer.header("ETag")));
    assert_eq!(app.log_in(&ada.email, PASSWORD).await.code(400), "invalid_credentials");
    app.log_in("countess@example.com", PASSWORD).await.expect(200);
    let admin = app.admin().await;
    let log = admin.whole_log().await;
    let [email, username] = &log[1..3] else { panic!("{log:?}") };
    assert_eq!(
        (&email["type"], &email["data"]),
        (&json!("EmailChanged"), &json!({"previous_email": ada.email, "email": "Countess@example.com"}))
    );
    assert_eq!(
        (&username["type"], &username["data"]),
        (&json!("UsernameChanged"), &json!({"previous_username": "ada", "username": "Countess"}))
    );
    assert_eq!((&username["position"], answer.position()), (&json!(3), 3));
    // The previous values are free for others.
    let other = app.sign_up("ada").await;
    assert_ne!(other.id, ada.id);
    assert_eq!(app.me(&ada.token).await.expect(200).json()["username"], "Countess");
    verify(&app).await;
}

async fn email_change_requires_the_right_password(store: Store) {
    let app = TestApp::start(store).await;
    let ada = app.sign_up("ada").await;
    let email = email_of("new");
    for wrong in ["wrong", "", &PASSWORD.to_uppercase(), &"x".repeat(2000)] {
        let answer = change(&ada, &json!({"email": email, "current_password": wrong})).await;
        assert_eq!(answer.code(400), "wrong_password", "{wrong}");
    }
    let missing = change(&ada, &json!({"email": email})).await.validation_error_kinds();
    assert_eq!(missing, [("missing".to_owned(), json!(["body", "current_password"]))]);
    let faults = change(&ada, &json!({"email": "ada", "username": " ", "current_password": 7})).await;
    let kinds = faults.validation_error_kinds().into_iter().map(|(kind, _)| kind).collect::<Vec<_>>();
    assert_eq!(kinds, ["value_error", "string_too_short", "string_type"]);
    for nothing in [json!({}), json!({"email": null, "username": null}), json!({"username": "ada"})] {
        let answer = change(&ada, &nothing).await.expect(200);
        assert_eq!((answer.header("ETag"), answer.header("Aegis-Position")), ("\"1\"", ""), "{nothing}");
    }
    // A username needs no password.
    change(&ada, &json!({"username": "Ada L"})).await.expect(200);
    app.request(Method::PATCH, "/users/me").json(&json!({"username": "x"})).send().await.expect(401);
    assert_eq!(app.me(&ada.token).await.expect(200).json()["email"], ada.email);
}

async fn one_of_fifty_gets_a_contended_email(store: Store) {
    let app = TestApp::start_with(store, |settings| settings.rate_limits = false).await;
    let users = join_all((0..50).map(async |number| app.sign_up(&format!("user{number}")).await)).await;
    let wanted = json!({"email": "taken@example.com", "current_password": PASSWORD});
    let answers = join_all(users.iter().map(|user| change(user, &wanted))).await;
    let (won, lost): (Vec<_>, Vec<_>) = answers.iter().partition(|answer| answer.status() == 200);
    assert_eq!(won.len(), 1, "{:?}", answers.iter().map(Response::status).collect::<Vec<_>>());
    for answer in lost {
        assert_eq!(answer.code(400), "email_taken");
    }
    for user in &users {
        let email = app.me(&user.token).await.expect(200).json()["email"].clone();
        assert!(email == user.email || won[0].json()["id"] == user.id, "{email}");
    }
    verify(&app).await;
}

async fn two_users_swap_their_names(store: Store) {
    let app = TestApp::start(store).await;
    let (ada, bob) = (app.sign_up("ada").await, app.sign_up("bob").await);
    let to = |name: &str| json!({"email": email_of(name), "username": name, "current_password": PASSWORD});
    assert_eq!(change(&ada, &to("bob")).await.code(400), "email_taken");
    change(&ada, &to("between")).await.expect(200);
    change(&bob, &to("ada")).await.expect(200);
    change(&ada, &to("bob")).await.expect(200);
    for (user, name) in [(&ada, "bob"), (&bob, "ada")] {
        let me = app.me(&user.token).await.expect(200).json();
        assert_eq!((&me["email"], &me["username"]), (&json!(email_of(name)), &json!(name)));
        app.log_in(&email_of(name), PASSWORD).await.expect(200);
    }
    app.sign_up("between").await;
    verify(&app).await;
    // A rebuilt read model says the same.
    let admin = app.admin().await;
    admin.post("/projections/users/rebuild").send().await.expect(202);
    eventually("the rebuilt read model to be live", async || {
        let status = admin.get("/projections/users").send().await.expect(200).json();
        (status["live"] == 2).then_some(())
    })
    .await;
    assert_eq!(app.me(&ada.token).await.expect(200).json()["username"], "bob");
}

async fn names_of_others_are_refused_whatever_they_look_like(store: Store) {
    let app = TestApp::start(store).await;
    let (ada, _) = (app.sign_up("ada").await, app.sign_up("bob").await);
    for (username, code) in [("BOB ", "username_taken"), ("b0b", "username_confusable")] {
        assert_eq!(change(&ada, &json!({"username": username})).await.code(400), code, "{username}");
    }
    // One's own name may change its case and its look.
    for username in ["ADA", "AdA", "аdа", "ada"] {
        let answer = change(&ada, &json!({"username": username})).await;
        let mixes_scripts = username.starts_with('а');
        assert_eq!(answer.status(), if mixes_scripts { 422 } else { 200 }, "{username}");
    }
    change(&ada, &json!({"username": "bobo"})).await.expect(200);
    change(&ada, &json!({"username": "b0bo"})).await.expect(200);
    let sign_up = async |username: &str| {
        let body = json!({"email": "x@example.com", "username": username, "password": PASSWORD});
        app.post("/auth/signup").json(&body).send().await
    };
    assert_eq!(sign_up("bobo").await.code(400), "username_confusable");
    sign_up("ada").await.expect(201);
    verify(&app).await;
}

async fn other_fields_change_nothing(store: Store) {
    let app = TestApp::start(store).await;
    let ada = app.sign_up("ada").await;
    let before = app.me(&ada.token).await.expect(200).json();
    let assigned = json!({
        "id": "0193e2b4-0000-7000-8000-000000000001", "is_active": false, "roles": ["admin"], "role": "admin",
        "created_at": "2001-01-01T00:00:00Z", "password": NEW_PASSWORD, "password_hash": "x", "version": 9,
        "tokens_from": 0, "new_password": NEW_PASSWORD, "current_password": PASSWORD,
    });
    assert_eq!(change(&ada, &assigned).await.expect(200).json(), before);
    let mut body = assigned;
    body["username"] = json!("Countess");
    let after = change(&ada, &body).await.expect(200).json();
    assert_eq!(
        (&after["id"], &after["is_active"], &after["created_at"]),
        (&before["id"], &json!(true), &before["created_at"])
    );
    assert_eq!(app.get("/events").bearer(&ada.token).send().await.code(403), "forbidden");
    app.log_in(&ada.email, PASSWORD).await.expect(200);
}

async fn repeated_and_conditional_changes(store: Store) {
    let app = TestApp::start(store).await;
    let ada = app.sign_up("ada").await;
    let keyed = |name: &str| {
        let request = ada.request(Method::PATCH, "/users/me").header("Idempotency-Key", "k");
        request.json(&json!({"username": name})).send()
    };
    let first = keyed("Countess").await.expect(200);
    let again = keyed("Countess").await.expect(200);
    assert_eq!((first.json(), first.position()), (again.json(), again.position()));
    assert_eq!(keyed("Lovelace").await.code(422), "idempotency_key_reused");
    let conditional = |tag: &str, name: &str| {
        let request = ada.request(Method::PATCH, "/users/me").header("If-Match", tag);
        request.json(&json!({"username": name})).send()
    };
    assert_eq!(conditional("\"1\"", "Lovelace").await.code(412), "version_mismatch");
    conditional("\"2\"", "Lovelace").await.expect(200);
    let password = json!({"current_password": PASSWORD, "new_password": NEW_PASSWORD});
    let stale = ada.post("/users/me/password").header("If-Match", "\"2\"").json(&password).send().await;
    assert_eq!(stale.code(412), "version_mismatch");
    let current = ada.post("/users/me/password").header("If-Match", "\"3\"").json(&password).send().await;
    assert_eq!(current.expect(204).header("ETag"), "\"4\"");
}

async fn changes_are_limited(store: Store) {
    let app = TestApp::start(store).await;
    app.clock.set("2026-11-22T08:00:00Z".parse().unwrap());
    let (ada, bob) = (app.sign_up("ada").await, app.sign_up("bob").await);
    for number in 0..20 {
        change(&ada, &json!({"username": format!("ada{number}")})).await.expect(200);
    }
    let refused = change(&ada, &json!({"username": "bob"})).await;
    assert_eq!(refused.code(429), "rate_limited");
    assert_eq!(refused.header("RateLimit-Policy"), "\"identity-changes\";q=20;w=3600");
    assert_eq!(change_password(&ada, PASSWORD, NEW_PASSWORD).await.code(429), "rate_limited");
    change(&bob, &json!({"username": "Robert"})).await.expect(200);
}

async fn history_and_export_show_the_change(store: Store) {
    let app = TestApp::start(store).await;
    let (ada, auditor) = (app.sign_up("ada").await, app.user_with(Role::Auditor).await);
    let new = email_of("countess");
    let body = json!({"email": new, "username": "Countess", "current_password": PASSWORD});
    change(&ada, &body).await.expect(200);
    change_password(&ada, PASSWORD, NEW_PASSWORD).await.expect(204);
    let history = auditor.get(&format!("/users/{}/events", ada.id)).send().await.expect(200).json();
    let changes: Vec<_> =
        history["events"].as_array().unwrap().iter().skip(1).map(|event| &event["changes"]).collect();
    assert_eq!(
        json!(changes),
        json!([
            [{"field": "email", "from": ada.email, "to": new}],
            [{"field": "username", "from": "ada", "to": "Countess"}],
            [{"field": "password"}],
        ])
    );
    let token = app.log_in(&new, NEW_PASSWORD).await.expect(200).json()["access_token"].clone();
    let export = app.get("/users/me/export").bearer(token.as_str().unwrap()).send().await.expect(200).json();
    assert_eq!(
        (&export["account"]["email"], &export["account"]["username"]),
        (&json!(new), &json!("Countess"))
    );
    assert_eq!(export["events"][1]["changes"][0]["from"], ada.email.as_str());
    assert_eq!(export["password"]["set_at"], export["events"][3]["at"]);
    let first = auditor.get(&format!("/users/{}?as_of=1", ada.id)).send().await.expect(200).json();
    assert_eq!((&first["email"], &first["username"]), (&json!(ada.email), &json!("ada")));
}

async fn erasure_leaves_no_previous_value(store: Store) {
    let app = TestApp::start(store.clone()).await;
    let admin = app.admin().await;
    let user = app.sign_up("zyxfirstname").await;
    let second = json!({
        "email": "zyxsecondmail@example.com", "username": "zyxsecondname", "current_password": PASSWORD
    });
    change(&user, &second).await.expect(200);
    change_password(&user, PASSWORD, NEW_PASSWORD).await.expect(204);
    let markers = ["zyxfirstname", "zyxsecondmail", "zyxsecondname"];
    let shown_in = async || {
        let dumped = dump(&store).await;
        let shows = |bytes: &[u8]| markers.iter().any(|marker| contains_text(bytes, marker));
        dumped.into_iter().filter(|(_, bytes)| shows(bytes)).map(|(name, _)| name).collect::<Vec<_>>()
    };
    assert_eq!(shown_in().await, ["users_1"]);
    admin
        .post(&format!("/users/{}/erase", user.id))
        .json(&json!({"reason": "request"}))
        .send()
        .await
        .expect(204);
    assert_eq!(shown_in().await, [""; 0]);
    let log = admin.whole_log().await;
    for event in log.iter().filter(|event| event["subject"] == user.id.as_str()) {
        assert!(!event.to_string().contains("zyx"), "{event}");
    }
    let history = admin.get(&format!("/users/{}/events", user.id)).send().await.expect(200).text();
    assert!(!history.contains("zyx"), "{history}");
    for marker in markers {
        assert!(!captured_logs().contains(marker), "{marker} is logged");
    }
    // Both identities are free.
    app.sign_up("zyxfirstname").await;
    app.sign_up("zyxsecondname").await;
    verify(&app).await;
}

async fn changed_password_ends_every_token(store: Store) {
    let app = TestApp::start(store).await;
    let ada = app.admin().await;
    let second = app.token_of(&ada.email).await;
    let answer = change_password(&ada, PASSWORD, NEW_PASSWORD).await.expect(204);
    assert_eq!((answer.text().as_str(), answer.header("ETag")), ("", "\"3\""));
    let paths = [
        "/users/me",
        "/users/me/export",
        &format!("/users/{}", ada.id),
        "/events",
        "/events/stream",
        "/webhooks",
        "/log/checkpoint",
        "/projections",
        "/stats",
    ];
    for token in [&ada.token, &second] {
        for path in paths {
            assert_eq!(app.get(path).bearer(token).send().await.code(403), "token_revoked", "{path}");
        }
        let again = json!({"current_password": NEW_PASSWORD, "new_password": PASSWORD});
        let refused = app.post("/users/me/password").bearer(token).json(&again).send().await;
        assert_eq!(refused.code(403), "token_revoked");
    }
    assert_eq!(app.log_in(&ada.email, PASSWORD).await.code(400), "invalid_credentials");
    let token = app.log_in(&ada.email, NEW_PASSWORD).await.expect(200).json()["access_token"].clone();
    app.get("/events").bearer(token.as_str().unwrap()).send().await.expect(200);
}

async fn changed_password_comes_with_a_token_if_preferred(store: Store) {
    let app = TestApp::start(store).await;
    let ada = app.sign_up("ada").await;
    let body = json!({"current_password": PASSWORD, "new_password": NEW_PASSWORD});
    let request = ada.post("/users/me/password").header("Prefer", "respond-async, return=representation");
    let answer = request.json(&body).send().await.expect(200);
    assert_eq!(answer.header("Preference-Applied"), "return=representation");
    assert_eq!(answer.header("Cache-Control"), "no-store");
    let token = answer.json();
    assert_eq!((&token["token_type"], &token["expires_in"]), (&json!("bearer"), &json!(604_800)));
    app.me(token["access_token"].as_str().unwrap()).await.expect(200);
    assert_eq!(app.me(&ada.token).await.code(403), "token_revoked");
}

/// The answers depend on the caller's own password alone: nothing is learnt of other accounts.
async fn wrong_password_tells_nothing_and_delays_the_account(store: Store) {
    let app = TestApp::start(store).await;
    app.clock.set("2026-11-22T08:00:00Z".parse().unwrap());
    let (ada, _) = (app.sign_up("ada").await, app.sign_up("bob").await);
    let wrong_for = async |email: &str| {
        let answer = change(&ada, &json!({"email": email, "current_password": "wrong"})).await;
        let mut body = answer.json();
        body["request_id"] = Value::Null;
        (answer.status(), body)
    };
    assert_eq!(wrong_for(&email_of("bob")).await, wrong_for(&email_of("unknown")).await);
    for _ in 0..8 {
        assert_eq!(change_password(&ada, "wrong", NEW_PASSWORD).await.code(400), "wrong_password");
    }
    assert_eq!(change_password(&ada, PASSWORD, NEW_PASSWORD).await.code(429), "too_many_failures");
    let email = json!({"email": email_of("new"), "current_password": PASSWORD});
    assert_eq!(change(&ada, &email).await.code(429), "too_many_failures");
}

async fn of_concurrent_password_changes_one_wins(store: Store) {
    let app = TestApp::start_with(store, |settings| settings.rate_limits = false).await;
    let ada = app.sign_up("ada").await;
    let new = |number: usize| format!("{NEW_PASSWORD}, number {number}");
    let answers =
        join_all((0..10).map(async |number| change_password(&ada, PASSWORD, &new(number)).await)).await;
    let winners: Vec<_> = (0..10).filter(|&number| answers[number].status() == 204).collect();
    assert_eq!(winners.len(), 1, "{:?}", answers.iter().map(Response::status).collect::<Vec<_>>());
    for answer in answers.iter().filter(|answer| answer.status() != 204) {
        match answer.status() {
            409 => assert_eq!(answer.code(409), "password_changed"),
            400 => assert_eq!(answer.code(400), "wrong_password"),
            _ => assert_eq!(answer.code(403), "token_revoked"),
        }
    }
    app.log_in(&ada.email, PASSWORD).await.expect(400);
    app.log_in(&ada.email, &new(winners[0])).await.expect(200);
}

async fn weak_passwords_are_refused_with_a_reason(store: Store) {
    let app = TestApp::start(store).await;
    let ada = app.sign_up("ada").await;
    let common = "This is a very common password. Add another word or two. Uncommon words are better.";
    for (weak, expected) in [("password1", Some(common)), (ada.email.as_str(), None)] {
        let mut sign_up = credentials("eve");
        sign_up["password"] = json!(weak.replace("ada", "eve"));
        let answers = [
            ("password", app.post("/auth/signup").json(&sign_up).send().await),
            ("new_password", change_password(&ada, PASSWORD, weak).await),
        ];
        for (field, answer) in answers {
            let [error] = answer.validation_errors().try_into().unwrap();
            let reason = error["ctx"]["reason"].as_str().unwrap();
            assert!(expected.is_none_or(|expected| reason == expected), "{reason}");
            assert_eq!(
                error,
                json!({
                    "type": "value_error", "loc": ["body", field], "input": null, "ctx": {"reason": reason},
                    "msg": format!("value is not a strong password: {reason}"),
                })
            );
        }
    }
    // A wrong current password is all that its guesser learns, however weak the new one.
    assert_eq!(change_password(&ada, "wrong", "password1").await.code(400), "wrong_password");
    app.me(&ada.token).await.expect(200);
}

async fn legacy_rule_accepts_weak_passwords(store: Store) {
    let legacy = |settings: &mut Settings| {
        settings.passwords.min_score = 0;
        settings.passwords.min_length = 1;
    };
    let app = TestApp::start_with(store, legacy).await;
    let ada = app.sign_up("ada").await;
    change_password(&ada, PASSWORD, "1").await.expect(204);
    app.log_in(&ada.email, "1").await.expect(200);
}

async fn revoked_tokens_are_refused_by_another_node() {
    let app = TestApp::start(Store::mongo().await).await;
    let other = app.start_second_node().await;
    let ada = app.sign_up("ada").await;
    other.me(&ada.token).await.expect(200);
    change_password(&ada, PASSWORD, NEW_PASSWORD).await.expect(204);
    assert_eq!(other.me(&ada.token).await.code(403), "token_revoked");
    assert_eq!(other.log_in(&ada.email, PASSWORD).await.code(400), "invalid_credentials");
    other.log_in(&ada.email, NEW_PASSWORD).await.expect(200);
}

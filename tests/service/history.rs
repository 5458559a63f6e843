//! History: users as of a position or time, their changes, and the export of all personal data of a user.

use domain::{Role, UserCommand};
use serde_json::{Value, json};

use crate::support::{Deployment, PASSWORD, Store, TestApp, User, credentials, email_of, on_both_stores};

on_both_stores! {
    user_as_of_a_position_or_time
    invalid_point_in_time_is_rejected
    erased_user_has_an_anonymous_past
    history_lists_field_changes_actors_and_requests
    user_downloads_all_data_held_on_them
    history_requires_the_admin_or_auditor_role
    cli_shows_history_and_past_state
    cli_diff_shows_user_changes_between_positions
}

/// A user as of a position or time, as an administrator sees it.
async fn then(admin: &User, id: &str, as_of: &str) -> Value {
    admin.get(&format!("/users/{id}?as_of={as_of}")).send().await.expect(200).json()
}

async fn user_as_of_a_position_or_time(store: Store) {
    let app = TestApp::start(store).await;
    app.clock.set("2031-03-01T10:00:00Z".parse().unwrap());
    let admin = app.admin().await;
    app.clock.set("2031-03-01T11:00:00Z".parse().unwrap());
    let ada = app.sign_up("ada").await;
    let registered = app.head().await;
    app.clock.set("2031-03-01T12:00:00.500Z".parse().unwrap());
    admin.put(&format!("/users/{}/roles/auditor", ada.id)).send().await.expect(204);
    app.clock.set("2031-03-01T13:00:00Z".parse().unwrap());
    let deactivated = admin.deactivate(&ada.id).send().await.expect(200).position();
    let expected = |is_active: bool, roles: &[&str], version: u64, position: u64| {
        json!({"id": ada.id, "email": ada.email, "username": "ada", "is_active": is_active, "roles": roles, "email_verified": false,
            "created_at": "2031-03-01T11:00:00.000Z", "version": version, "position": position})
    };
    let (first, second) =
        (expected(true, &[], 1, registered), expected(true, &["auditor"], 2, registered + 1));
    let third = expected(false, &["auditor"], 3, deactivated);
    for (as_of, user) in [
        (registered.to_string(), &first),
        ((registered + 1).to_string(), &second),
        (deactivated.to_string(), &third),
        ("2031-03-01T11:00:00Z".to_owned(), &first),
        ("2031-03-01T12:00:00.499Z".to_owned(), &first),
        ("2031-03-01T12:00:00.5Z".to_owned(), &second),
        ("2031-03-01T13:59:59%2B01:00".to_owned(), &second),
        ("2031-03-01T14:00:00%2B01:00".to_owned(), &third),
        ("2999-01-01T00:00:00Z".to_owned(), &third),
    ] {
        assert_eq!(&then(&admin, &ada.id, &as_of).await, user, "as of {as_of}");
    }
    let answer = admin.get(&format!("/users/{}?as_of={registered}", ada.id)).send().await.expect(200);
    assert_eq!(answer.header("ETag"), "\"1\"");
    for early in [(registered - 1).to_string(), "0".to_owned(), "2031-03-01T10:59:59.999Z".to_owned()] {
        let answer = admin.get(&format!("/users/{}?as_of={early}", ada.id)).send().await;
        assert_eq!(answer.code(404), "not_found", "as of {early}");
    }
}

async fn invalid_point_in_time_is_rejected(store: Store) {
    let app = TestApp::start(store).await;
    let admin = app.admin().await;
    let head = app.head().await;
    then(&admin, &admin.id, &head.to_string()).await;
    for (as_of, kind) in [
        ((head + 1).to_string().as_str(), "less_than_equal"),
        ("99999999999999999999", "less_than_equal"),
        ("yesterday", "datetime_parsing"),
        ("-1", "datetime_parsing"),
    ] {
        let answer = admin.get(&format!("/users/{}?as_of={as_of}", admin.id)).send().await;
        let faults = answer.validation_error_kinds();
        assert_eq!(faults, [(kind.to_owned(), json!(["query", "as_of"]))], "{as_of}");
    }
}

async fn erased_user_has_an_anonymous_past(store: Store) {
    let app = TestApp::start(store).await;
    let (admin, ada) = (app.admin().await, app.sign_up("ada").await);
    let registered = app.head().await;
    admin.deactivate(&ada.id).send().await.expect(200);
    let body = json!({"reason": "request"});
    let erased =
        admin.post(&format!("/users/{}/erase", ada.id)).json(&body).send().await.expect(204).position();
    let past = then(&admin, &ada.id, &registered.to_string()).await;
    assert_eq!((&past["email"], &past["username"]), (&Value::Null, &Value::Null), "{past}");
    assert_eq!((&past["is_active"], &past["position"]), (&json!(true), &json!(registered)), "{past}");
    let answer = admin.get(&format!("/users/{}?as_of={erased}", ada.id)).send().await;
    assert_eq!(answer.code(404), "not_found");
    let history = admin.get(&format!("/users/{}/events", ada.id)).send().await.expect(200);
    assert!(
        !history.text().contains("\"ada\"") && !history.text().contains(&ada.email),
        "{}",
        history.text()
    );
    let history = history.json();
    let events = history["events"].as_array().unwrap();
    let types: Vec<_> = events.iter().map(|event| event["type"].as_str().unwrap()).collect();
    assert_eq!(types, ["UserRegistered", "UserDeactivated", "UserErased"]);
    assert_eq!(events[0]["changes"][0], json!({"field": "email", "from": null, "to": {"erased": true}}));
    assert_eq!(events[1]["reason"], json!({"erased": true}));
    assert_eq!((&events[2]["reason"], &events[2]["changes"]), (&json!("request"), &json!([])));
}

async fn history_lists_field_changes_actors_and_requests(store: Store) {
    let app = TestApp::start(store).await;
    app.clock.set("2031-03-01T10:00:00Z".parse().unwrap());
    let (admin, ada) = (app.admin().await, app.sign_up("ada").await);
    let signed_up = app.head().await;
    app.command(&ada.id, UserCommand::GrantRole { role: Role::Operator }).await;
    let request = admin.deactivate(&ada.id).header("X-Request-Id", "the-request-42");
    let answer = request.send().await.expect(200);
    let request_id = answer.header("X-Request-Id").to_owned();
    let history = admin.get(&format!("/users/{}/events", ada.id)).send().await.expect(200).json();
    let me = format!("user-{}", ada.id);
    let event = |version: u64, kind: &str, actor: &str| {
        json!({"position": signed_up + version - 1, "version": version, "type": kind, "actor": actor,
            "at": "2031-03-01T10:00:00.000Z"})
    };
    let mut expected = [
        event(1, "UserRegistered", &me),
        event(2, "RoleGranted", "operator:test"),
        event(3, "UserDeactivated", &format!("user-{}", admin.id)),
    ];
    expected[0]["request_id"] = history["events"][0]["request_id"].clone();
    expected[0]["changes"] = json!([
        {"field": "email", "from": null, "to": ada.email}, {"field": "username", "from": null, "to": "ada"},
        {"field": "password"}, {"field": "is_active", "from": null, "to": true},
        {"field": "roles", "from": null, "to": []},
    ]);
    expected[1]["request_id"] = json!("test");
    expected[1]["changes"] = json!([{"field": "roles", "from": [], "to": ["operator"]}]);
    expected[2]["request_id"] = json!(request_id);
    expected[2]["changes"] = json!([{"field": "is_active", "from": true, "to": false}]);
    expected[2]["reason"] = json!("requested by a test");
    assert_eq!(history["events"], json!(expected));
    assert!(!expected[0]["request_id"].as_str().unwrap().is_empty());
    let unknown = "0193e2b4-0000-7000-8000-000000000001";
    assert_eq!(admin.get(&format!("/users/{unknown}/events")).send().await.code(404), "not_found");
}

async fn user_downloads_all_data_held_on_them(store: Store) {
    let app = TestApp::start(store).await;
    app.clock.set("2031-03-01T10:00:00Z".parse().unwrap());
    let (admin, mut ada) = (app.admin().await, app.sign_up("ada").await);
    app.clock.set("2031-03-01T11:00:00Z".parse().unwrap());
    let done = admin.deactivate(&ada.id).send().await.expect(200).position();
    admin.reactivate(&ada.id).send().await.expect(200);
    ada.token = app.token_of(&ada.email).await;
    let answer = ada.get("/users/me/export").send().await.expect(200);
    assert_eq!(answer.header("Content-Disposition"), "attachment; filename=\"my-data.json\"");
    assert_eq!(answer.header("Cache-Control"), "no-store");
    assert!(!answer.text().contains("$argon2id$"), "{}", answer.text());
    let record = answer.json();
    let history = admin.get(&format!("/users/{}/events", ada.id)).send().await.expect(200).json();
    let mut expected = history["events"].clone();
    for event in &mut expected.as_array_mut().unwrap()[1..] {
        assert_eq!(event["actor"], json!(format!("user-{}", admin.id)));
        event["actor"] = json!("administrator");
    }
    assert_eq!(record["events"], expected);
    assert!(!answer.text().contains(&admin.id), "{}", answer.text());
    assert_eq!(record["account"], then(&admin, &ada.id, &record["position"].to_string()).await);
    assert_eq!(record["password"], json!({"hash": "argon2id", "set_at": "2031-03-01T10:00:00.000Z"}));
    assert_eq!((&record["exported_at"], &record["acts"]), (&json!("2031-03-01T11:00:00.000Z"), &json!([])));

    // The actions of the user are included, but not their targets.
    let record = admin.get("/users/me/export").send().await.expect(200);
    assert!(!record.text().contains(&ada.id) && !record.text().contains(&ada.email), "{}", record.text());
    let acts = record.json()["acts"].clone();
    let acts = acts.as_array().unwrap();
    let types: Vec<_> = acts.iter().map(|act| act["type"].as_str().unwrap()).collect();
    assert_eq!(types, ["UserDeactivated", "UserReactivated"]);
    assert_eq!((&acts[0]["position"], &acts[0]["at"]), (&json!(done), &json!("2031-03-01T11:00:00.000Z")));
    ada.delete("/users/me").json(&json!({"password": PASSWORD})).send().await.expect(204);
    assert_eq!(ada.get("/users/me/export").send().await.code(404), "not_found");
}

async fn history_requires_the_admin_or_auditor_role(store: Store) {
    let app = TestApp::start(store).await;
    let ada = app.sign_up("ada").await;
    let (subscriber, auditor) = (app.user_with(Role::Subscriber).await, app.user_with(Role::Auditor).await);
    for path in [format!("/users/{}/events", ada.id), format!("/users/{}?as_of=1", ada.id)] {
        app.get(&path).send().await.expect(401);
        assert_eq!(ada.get(&path).send().await.code(403), "forbidden", "{path}");
        assert_eq!(subscriber.get(&path).send().await.code(403), "forbidden", "{path}");
        auditor.get(&path).send().await.expect(200);
    }
    app.get("/users/me/export").send().await.expect(401);
}

/// Runs commands as an operator: positions 1 to 6, of which the last two are an erasure.
async fn run_commands(deployment: &Deployment) -> [String; 2] {
    let service = deployment.serve().await;
    let mut ids = Vec::new();
    for name in ["ada", "bob"] {
        let answer = service.client().post("/auth/signup").json(&credentials(name)).send().await.expect(201);
        ids.push(answer.json()["id"].as_str().unwrap().to_owned());
    }
    deployment.run_ok(&["users", "grant", &email_of("bob"), "auditor"]).await;
    deployment.run_ok(&["users", "deactivate", &email_of("ada"), "--reason", "=1+1"]).await;
    deployment.run_ok(&["users", "erase", &email_of("bob"), "--reason", "policy", "--yes"]).await;
    ids.try_into().unwrap()
}

async fn cli_shows_history_and_past_state(store: Store) {
    let deployment = Deployment::of(store);
    let [ada, bob] = run_commands(&deployment).await;
    let email = email_of("ada");
    let shown = deployment.json(&["users", "show", &email, "--as-of", "2"]).await;
    assert_eq!((&shown[0]["is_active"], &shown[0]["version"]), (&json!(true), &json!(1)), "{shown:?}");
    let shown = deployment.json(&["users", "show", &ada, "--as-of", "4"]).await;
    assert_eq!((&shown[0]["is_active"], &shown[0]["email"]), (&json!(false), &json!(email)), "{shown:?}");
    let shown = deployment.run_ok(&["users", "show", &bob, "--as-of", "3"]).await.stdout;
    assert!(shown.contains("(erased)") && shown.contains("auditor"), "{shown}");
    assert!(shown.contains("email_verified no"), "{shown}");
    for (user, as_of, why) in [(&ada, "0", "there was no user"), (&ada, "99", "beyond the head")] {
        let refused = deployment.run(&["users", "show", user, "--as-of", as_of]).await;
        assert!(refused.code == Some(1) && refused.stderr.contains(why), "{refused:?}");
    }
    assert_eq!(deployment.run(&["users", "show", &ada, "--as-of", "then"]).await.code, Some(2));

    let history = deployment.json(&["users", "history", &email]).await;
    let types: Vec<_> = history.iter().map(|change| change["type"].as_str().unwrap()).collect();
    assert_eq!(types, ["UserRegistered", "UserDeactivated"]);
    assert_eq!(history[1]["reason"], "=1+1");
    let history = deployment.run_ok(&["users", "history", &email]).await.stdout;
    assert!(history.contains("is_active true -> false, reason \"=1+1\""), "{history}");
    let history = deployment.run_ok(&["users", "history", &bob]).await.stdout;
    assert!(history.contains("email (erased)") && !history.contains(&email_of("bob")), "{history}");
    assert_eq!(deployment.run(&["users", "history", "unknown@example.com"]).await.code, Some(1));

    let record = deployment.run_ok(&["users", "export", &email]).await.stdout;
    let record: Value = serde_json::from_str(&record).unwrap();
    assert_eq!(
        (&record["account"]["email"], &record["events"][1]["reason"]),
        (&json!(email), &json!("=1+1"))
    );
    let record: Value =
        serde_json::from_str(&deployment.run_ok(&["users", "export", &bob]).await.stdout).unwrap();
    assert_eq!((&record["account"], &record["password"]), (&Value::Null, &Value::Null));
    assert_eq!(record["events"].as_array().unwrap().len(), 4);
}

async fn cli_diff_shows_user_changes_between_positions(store: Store) {
    let deployment = Deployment::of(store);
    let [ada, bob] = run_commands(&deployment).await;
    let became = async |arguments: &[&str]| {
        let found = deployment.json(&[&["events", "diff"], arguments].concat()).await;
        let summary = |one: &Value| {
            (
                one["id"].as_str().unwrap() == ada,
                one["became"].clone(),
                one["changes"].as_array().unwrap().len(),
            )
        };
        found.iter().map(summary).collect::<Vec<_>>()
    };
    let (registered, changed, erased) = (json!("registered"), json!("changed"), json!("erased"));
    let both = [(true, registered.clone(), 5), (false, registered, 5)];
    assert_eq!(became(&["--from", "0", "--to", "2"]).await, both);
    assert_eq!(became(&["--from", "1", "--to", "3"]).await, both[1..]);
    assert_eq!(became(&["--from", "2", "--to", "3"]).await, [(false, changed.clone(), 1)]);
    assert_eq!(became(&["--from", "2"]).await, [(true, changed, 1), (false, erased, 0)]);
    assert_eq!(became(&["--from", "6"]).await, []);
    let one = deployment.json(&["events", "diff", "--from", "3", "--to", "4"]).await;
    let expected = json!([{"id": ada, "became": "changed", "events": 1,
        "changes": [{"field": "is_active", "from": true, "to": false}]}]);
    assert_eq!(json!(one), expected);
    let text =
        deployment.run_ok(&["events", "diff", "--from", "2", "--to", "2999-01-01T00:00:00Z"]).await.stdout;
    assert!(text.contains("is_active true -> false") && text.contains(&bob), "{text}");
    for wrong in [&["--from", "3", "--to", "2"][..], &["--from", "7"]] {
        let refused = deployment.run(&[&["events", "diff"], wrong].concat()).await;
        assert_eq!(refused.code, Some(1), "{refused:?}");
    }
    assert_eq!(deployment.run(&["events", "diff"]).await.code, Some(2));
}

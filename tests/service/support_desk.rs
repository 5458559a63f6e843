//! The support desk: `GET /users` finds users, `POST /users` creates them, and so does the command line.

use std::collections::BTreeSet;

use domain::Role;
use reqwest::Method;
use serde_json::{Value, json};

use crate::support::{
    Deployment, MASTER_KEY, PASSWORD, Response, Store, TestApp, User, email_of, on_both_stores,
};

on_both_stores! {
    search_finds_beginnings_of_email_and_username
    search_matches_text_as_it_is
    filters_select_by_role_and_state
    pages_neither_skip_nor_repeat_users
    search_shows_changes_at_once
    invalid_searches_are_rejected
    search_tells_others_nothing
    administrator_creates_a_user_with_roles
    created_user_without_a_password_gets_one_later
    invalid_users_are_not_created
    creation_requires_the_role_according_to_the_log
    command_line_finds_and_creates_users
    command_line_reads_passwords_from_stdin
    command_line_exports_all_users
    hashes_are_exported_after_confirmation_and_leave_an_event
}

async fn search(by: &User, query: &str) -> Response {
    by.get(&format!("/users?{query}")).send().await
}

/// The usernames that a search finds, in its order.
async fn found(by: &User, query: &str) -> Vec<String> {
    let page = search(by, query).await.expect(200).json();
    assert!(page.get("next").is_none(), "{query}: {page}");
    names(&page)
}

fn names(page: &Value) -> Vec<String> {
    let users = page["users"].as_array().unwrap().iter();
    users.map(|user| user["username"].as_str().unwrap().to_owned()).collect()
}

async fn create(by: &User, body: &Value) -> Response {
    by.post("/users").json(body).send().await
}

async fn register(by: &User, email: &str, username: &str) {
    create(by, &json!({"email": email, "username": username})).await.expect(201);
}

async fn search_finds_beginnings_of_email_and_username(store: Store) {
    let app = TestApp::start(store).await;
    let (admin, auditor) = (app.admin().await, app.user_with(Role::Auditor).await);
    for (email, username) in [
        ("ada@example.com", "countess"),
        ("Adam@example.org", "first"),
        ("zoe@example.com", "Ada Lovelace"),
        ("info@münchen.de", "münchen"),
        ("info@mail.example", "postmaster"),
        ("strasse@example.com", "STRASSE"),
        ("用户@例子.广告", "用户"),
    ] {
        register(&admin, email, username).await;
    }
    for (q, expected) in [
        ("ada", &["countess", "first", "Ada Lovelace"][..]),
        ("ADA@", &["countess"]),
        ("ada@example.com", &["countess"]),
        ("adam", &["first"]),
        ("ada lov", &["Ada Lovelace"]),
        ("lovelace", &[]),
        ("info@", &["postmaster", "münchen"]),
        ("info@m", &["postmaster", "münchen"]),
        ("info@mü", &["münchen"]),
        ("MÜN", &["münchen"]),
        ("straß", &["STRASSE"]),
        ("用", &["用户"]),
        ("用户@例", &["用户"]),
    ] {
        assert_eq!(found(&auditor, &format!("q={}", escaped(q))).await, expected, "{q}");
    }
    let shown = search(&auditor, "q=countess").await.expect(200).json()["users"][0].clone();
    assert_eq!(shown, admin.look_up(shown["id"].as_str().unwrap()).await);
    let by_email = found(&auditor, "email=ADA@example.com").await;
    assert_eq!(by_email, found(&auditor, "username=Countess").await);
    assert_eq!(by_email, ["countess"]);
    assert_eq!(found(&auditor, "email=ada@example.com&username=first").await, [""; 0]);
    assert_eq!(found(&auditor, "email=ada@example.com&q=count").await, ["countess"]);
    assert_eq!(found(&auditor, "email=ada@example.com&q=first").await, [""; 0]);
    for invalid in ["email=ada", "username=%07", "email=unknown@example.com"] {
        assert_eq!(found(&auditor, invalid).await, [""; 0], "{invalid}");
    }
}

fn escaped(text: &str) -> String {
    text.bytes().flat_map(|byte| format!("%{byte:02X}").into_bytes()).map(char::from).collect()
}

/// Nothing in a text is a wildcard.
async fn search_matches_text_as_it_is(store: Store) {
    let app = TestApp::start(store).await;
    let admin = app.admin().await;
    for (number, local_part) in ["a%b", "a_b", "a*b", "axb", "a.b", "a+b"].iter().enumerate() {
        register(&admin, &format!("{local_part}@example.com"), &format!("name {number}")).await;
    }
    for (q, expected) in [
        ("a%b", &["name 0"][..]),
        ("a_b", &["name 1"]),
        ("a*", &["name 2"]),
        ("a.", &["name 4"]),
        ("a+", &["name 5"]),
        ("^a", &[]),
        ("'", &[]),
        ("\"", &[]),
        ("\\", &[]),
        ("{\"$gt\":\"\"}", &[]),
        ("\u{10FFFF}", &[]),
        ("\u{200B}", &[]),
        (" ", &[]),
    ] {
        assert_eq!(found(&admin, &format!("q={}", escaped(q))).await, expected, "{q}");
    }
}

async fn filters_select_by_role_and_state(store: Store) {
    let app = TestApp::start(store).await;
    let (admin, auditor) = (app.admin().await, app.user_with(Role::Auditor).await);
    let (ada, _) = (app.sign_up("ada").await, app.sign_up("adam").await);
    admin.deactivate(&ada.id).send().await.expect(200);
    assert_eq!(found(&auditor, "role=admin").await, ["admin"]);
    assert_eq!(found(&auditor, "role=operator").await, [""; 0]);
    assert_eq!(found(&auditor, "active=false").await, ["ada"]);
    assert_eq!(found(&auditor, "q=ada&active=true").await, ["adam"]);
    assert_eq!(found(&auditor, "q=ad&role=admin&active=true").await, ["admin"]);
    // In the order of ids, which is that of registration.
    assert_eq!(found(&auditor, "").await, ["admin", "auditor", "ada", "adam"]);
}

async fn pages_neither_skip_nor_repeat_users(store: Store) {
    let app = TestApp::start_with(store, |settings| settings.rate_limits = false).await;
    let admin = app.admin().await;
    for number in 0..12 {
        // Half of them match by both, the others by the username alone.
        let email = if number % 2 == 0 {
            format!("same{number:02}@example.com")
        } else {
            format!("z{number}@example.com")
        };
        register(&admin, &email, &format!("same {number:02}")).await;
    }
    for query in ["", "q=same", "q=same&active=true"] {
        let whole = found(&admin, query).await;
        let (mut paged, mut after, mut round) = (Vec::new(), String::new(), 0);
        loop {
            let page = search(&admin, &format!("{query}&limit=5{after}")).await.expect(200).json();
            paged.extend(names(&page));
            // Meanwhile a user comes, and one who matches goes.
            let name = format!("{round}{query}");
            round += 1;
            register(
                &admin,
                &format!("new{}@example.com", escaped(&name).replace('%', "")),
                &format!("a {}", paged.len() + name.len() * 100),
            )
            .await;
            let Some(next) = page["next"].as_str() else { break };
            after = format!("&after={next}");
        }
        let paged: Vec<_> = paged.into_iter().filter(|name| whole.contains(name)).collect();
        assert_eq!(paged, whole, "{query}");
        assert_eq!(whole.iter().collect::<BTreeSet<_>>().len(), whole.len(), "{query}: {whole:?}");
    }
    // What exactly fills a page is the last page.
    let page = search(&admin, "q=same&limit=12").await.expect(200).json();
    assert_eq!((names(&page).len(), page.get("next")), (12, None));
    let page = search(&admin, "q=same&limit=11").await.expect(200).json();
    let last = search(&admin, &format!("q=same&limit=11&after={}", page["next"].as_str().unwrap())).await;
    assert_eq!((names(&page).len(), names(&last.expect(200).json()).len()), (11, 1));
}

async fn search_shows_changes_at_once(store: Store) {
    let app = TestApp::start(store).await;
    let (admin, ada) = (app.admin().await, app.sign_up("ada").await);
    for round in 0..5 {
        let name = format!("renamed{round}");
        let body = json!({"email": email_of(&name), "username": name, "current_password": PASSWORD});
        ada.request(Method::PATCH, "/users/me").json(&body).send().await.expect(200);
        assert_eq!(found(&admin, &format!("q={name}")).await, [name.as_str()]);
        assert_eq!(found(&admin, "q=ada").await, [""; 0]);
    }
    ada.delete("/users/me").json(&json!({"password": PASSWORD})).send().await.expect(204);
    assert_eq!(found(&admin, "q=renamed").await, [""; 0]);
}

async fn invalid_searches_are_rejected(store: Store) {
    let app = TestApp::start(store).await;
    let admin = app.admin().await;
    for (query, kind, name) in [
        ("q=", "string_too_short", "q"),
        ("email=", "string_too_short", "email"),
        ("role=king", "enum", "role"),
        ("active=yes", "enum", "active"),
        ("limit=0", "greater_than_equal", "limit"),
        ("limit=101", "less_than_equal", "limit"),
        ("after=x", "string_pattern_mismatch", "after"),
        ("q=a&q=b", "value_error", "q"),
        ("search=a", "extra_forbidden", "search"),
    ] {
        let errors = search(&admin, query).await.validation_error_kinds();
        assert_eq!(errors, [(kind.to_owned(), json!(["query", name]))], "{query}");
    }
    // A position of another search is somewhere else, but no fault.
    let page = search(&admin, "limit=1&after=OTpib2I").await.expect(200).json();
    assert_eq!(names(&page), [""; 0]);
}

/// Who may not search gets the same answer, whatever they look for.
async fn search_tells_others_nothing(store: Store) {
    let app = TestApp::start(store).await;
    let (ada, _) = (app.sign_up("ada").await, app.sign_up("bob").await);
    for role in [None, Some(Role::Operator), Some(Role::Subscriber)] {
        if let Some(role) = role {
            app.grant(&ada, role).await;
        }
        let answers = ["email=bob@example.com", "email=unknown@example.com", "q=bob", "q=unknown", ""];
        for query in answers {
            let answer = search(&ada, query).await;
            assert_eq!(answer.code(403), "forbidden", "{role:?} {query}");
            assert_eq!(answer.json()["detail"], "Not enough permissions");
        }
        assert_eq!(
            create(&ada, &json!({"email": "bob@example.com", "username": "x"})).await.code(403),
            "forbidden"
        );
    }
    app.get("/users?q=bob").send().await.expect(401);
}

async fn administrator_creates_a_user_with_roles(store: Store) {
    let app = TestApp::start(store).await;
    let admin = app.admin().await;
    let body = json!({
        "email": " Ada@EXAMPLE.com", "username": "ada", "password": PASSWORD, "roles": ["auditor", "admin", "auditor"],
        "id": "0193e2b4-0000-7000-8000-000000000001", "is_active": false,
    });
    let request = || admin.post("/users").header("Idempotency-Key", "k").json(&body);
    let answer = request().send().await.expect(201);
    let user = answer.json();
    let id = user["id"].as_str().unwrap().to_owned();
    assert_eq!(
        (answer.header("Location"), answer.header("ETag")),
        (format!("/api/v1/users/{id}").as_str(), "\"3\"")
    );
    assert_ne!(user["id"], body["id"]);
    assert_eq!(
        (&user["email"], &user["is_active"], &user["roles"]),
        (&json!("Ada@example.com"), &json!(true), &json!(["admin", "auditor"]))
    );
    let again = request().send().await.expect(201);
    assert_eq!((again.json(), again.header("Location")), (user.clone(), answer.header("Location")));
    let log = admin.whole_log().await;
    let written: Vec<_> =
        log.iter().rev().take(4).rev().map(|event| event["type"].as_str().unwrap()).collect();
    assert_eq!(written, ["UserRegistered", "RoleGranted", "RoleGranted", "AdministratorAdded"]);
    for event in log.iter().rev().take(4) {
        assert_eq!(event["actor"], format!("user-{}", admin.id), "{event}");
    }
    // The new administrator can act at once.
    let token = app.token_of("ada@example.com").await;
    app.get("/users?q=ada").bearer(&token).send().await.expect(200);
    assert_eq!(create(&admin, &body).await.code(400), "email_taken");
    let verified = app.services().proofs.verify(aegis::query::claim_change, None, &mut |_, _| {}).await;
    verified.unwrap();
}

async fn created_user_without_a_password_gets_one_later(store: Store) {
    let app = TestApp::start(store.clone()).await;
    let admin = app.admin().await;
    let user = create(&admin, &json!({"email": email_of("ada"), "username": "ada"})).await.expect(201).json();
    let id = user["id"].as_str().unwrap();
    assert_eq!(admin.look_up(id).await["email"], email_of("ada"));
    // No password is right, and the answer is that for a wrong one.
    let rejected = app.log_in(&email_of("unknown"), PASSWORD).await.json();
    for password in ["", "x", PASSWORD, "None", "null"] {
        let answer = app.log_in(&email_of("ada"), password).await;
        if password.is_empty() {
            continue;
        }
        assert_eq!(answer.code(400), "invalid_credentials", "{password}");
        assert_eq!(answer.json()["detail"], rejected["detail"]);
    }
    let log = admin.whole_log().await;
    let registered = log.iter().find(|event| event["subject"] == id).unwrap();
    assert_eq!(
        registered["data"],
        json!({"without_password": true, "email": email_of("ada"), "username": "ada"})
    );
    app.stopped().await;

    let deployment = Deployment::of(store.clone()).with("AEGIS_MASTER_KEY", MASTER_KEY);
    let set = deployment.run_with_input(&["users", "set-password", "ada"], &format!("{PASSWORD}\n")).await;
    assert_eq!(set.code, Some(0), "{set:?}");
    let app = TestApp::start(store).await;
    let token = app.token_of(&email_of("ada")).await;
    let export = app.get("/users/me/export").bearer(&token).send().await.expect(200).json();
    assert_eq!(export["password"]["set_at"], export["events"][1]["at"]);
}

async fn invalid_users_are_not_created(store: Store) {
    let app = TestApp::start(store).await;
    let (admin, _) = (app.admin().await, app.sign_up("bob").await);
    let head = app.head().await;
    for (body, kind, field) in [
        (json!({"username": "ada"}), "missing", "email"),
        (json!({"email": "ada@example.com"}), "missing", "username"),
        (
            json!({"email": "ada@example.com", "username": "ada", "password": "short"}),
            "string_too_short",
            "password",
        ),
        (
            json!({"email": "ada@example.com", "username": "ada", "password": "password1"}),
            "value_error",
            "password",
        ),
        (json!({"email": "ada@example.com", "username": "ada", "password": 7}), "string_type", "password"),
        (json!({"email": "ada@example.com", "username": "ada", "roles": "admin"}), "list_type", "roles"),
        (json!({"email": "ada@example.com", "username": "ada", "roles": ["king"]}), "enum", "roles"),
        (json!({"email": "ada@example.com", "username": "ada", "roles": [1]}), "string_type", "roles"),
    ] {
        let errors = create(&admin, &body).await.validation_error_kinds();
        assert_eq!(errors, [(kind.to_owned(), json!(["body", field]))], "{body}");
    }
    for (username, code) in [("bob", "username_taken"), ("b0b", "username_confusable")] {
        let body = json!({"email": "ada@example.com", "username": username, "roles": ["admin"]});
        assert_eq!(create(&admin, &body).await.code(400), code);
    }
    assert_eq!(app.head().await, head, "nothing was appended");
    let nothing = json!({"email": "ada@example.com", "username": "ada", "password": null, "roles": null});
    assert_eq!(create(&admin, &nothing).await.expect(201).json()["roles"], json!([]));
}

/// A row that says administrator is not enough.
async fn creation_requires_the_role_according_to_the_log(store: Store) {
    let app = TestApp::start(store).await;
    let (admin, eve) = (app.admin().await, app.sign_up("eve").await);
    let context = aegis::command::CommandContext::new(format!("user-{}", eve.id), "test");
    let registration = domain::UserCommand::Register {
        email: domain::EmailAddress::parse("mallory@example.com").unwrap(),
        username: domain::Username::parse("mallory").unwrap(),
        password_hash: None,
    };
    let created = app.services().users.create(&context, registration, &BTreeSet::from([Role::Admin])).await;
    assert!(matches!(created, Err(aegis::command::CommandError::Unauthorized { .. })), "{created:?}");
    assert_eq!(found(&admin, "q=mallory").await, [""; 0]);
}

async fn command_line_finds_and_creates_users(store: Store) {
    let app = TestApp::start(store.clone()).await;
    app.sign_up("bob").await;
    app.stopped().await;
    let deployment = Deployment::of(store).with("AEGIS_MASTER_KEY", MASTER_KEY);
    let create = ["users", "create", "ada@example.com", "Ada", "--role", "auditor"];
    let [created] = deployment.json(&create).await.try_into().unwrap();
    assert_eq!((&created["email"], &created["roles"]), (&json!("ada@example.com"), &json!(["auditor"])));
    let id = created["id"].as_str().unwrap();
    for user in ["ada", "ADA@example.com", id] {
        let shown = deployment.json(&["users", "show", user]).await;
        assert_eq!(shown, std::slice::from_ref(&created), "{user}");
    }
    for (filter, expected) in [
        (&["--q", "ad"][..], 1),
        (&["--q", "b"], 1),
        (&["--q", "x"], 0),
        (&["--role", "auditor"], 1),
        (&["--active", "false"], 0),
        (&["--active", "true", "--limit", "1"], 1),
        (&[], 2),
    ] {
        let found = deployment.json(&[&["users", "list"], filter].concat()).await;
        assert_eq!(found.len(), expected, "{filter:?}");
    }
    let again = deployment.run(&create).await;
    assert_eq!((again.code, again.stdout.as_str()), (Some(1), ""), "{again:?}");
    let unknown = deployment.run(&["users", "show", "no such user"]).await;
    assert_eq!(unknown.code, Some(1), "{unknown:?}");
    assert_eq!(deployment.run(&["events", "verify"]).await.code, Some(0));
}

async fn command_line_reads_passwords_from_stdin(store: Store) {
    let app = TestApp::start(store.clone()).await;
    let ada = app.sign_up("ada").await;
    app.stopped().await;
    let deployment = Deployment::of(store.clone()).with("AEGIS_MASTER_KEY", MASTER_KEY);
    let new = "a much longer way to say it";
    for (weak, said) in [("password1", "very common"), ("short", "8 characters"), ("", "8 characters")] {
        let refused = deployment.run_with_input(&["users", "set-password", "ada"], weak).await;
        assert_eq!(refused.code, Some(1), "{refused:?}");
        assert!(refused.stderr.contains(said), "{refused:?}");
        assert!(weak.is_empty() || !refused.stderr.contains(weak), "{refused:?}");
    }
    let set =
        deployment.run_with_input(&["users", "set-password", "ada@example.com"], &format!("{new}\r\n")).await;
    assert_eq!(set.code, Some(0), "{set:?}");
    let with_password = ["users", "create", "bob@example.com", "bob", "--password"];
    let created = deployment.run_with_input(&with_password, &format!("{PASSWORD}\n")).await;
    assert_eq!(created.code, Some(0), "{created:?}");
    let app = TestApp::start(store).await;
    assert_eq!(app.me(&ada.token).await.code(403), "token_revoked");
    app.log_in(&ada.email, PASSWORD).await.expect(400);
    app.log_in(&ada.email, new).await.expect(200);
    app.log_in("bob@example.com", PASSWORD).await.expect(200);
}

/// A stopped service with an erased user, an inactive auditor and a user without a password.
async fn exported_users(store: Store) -> (Deployment, Vec<Value>) {
    let app = TestApp::start(store.clone()).await;
    let admin = app.admin().await;
    let gone = app.sign_up("gone").await;
    gone.delete("/users/me").json(&json!({"password": PASSWORD})).send().await.expect(204);
    let auditor =
        json!({"email": "au=dit@example.com", "username": "=1+1, \"x\"", "roles": ["auditor", "operator"]});
    let auditor = create(&admin, &auditor).await.expect(201).json();
    let path = format!("/users/{}/deactivate", auditor["id"].as_str().unwrap());
    admin.post(&path).json(&json!({})).send().await.expect(200);
    app.stopped().await;
    let deployment = Deployment::of(store).with("AEGIS_MASTER_KEY", MASTER_KEY);
    let users = deployment.json(&["users", "list"]).await;
    assert_eq!(users.len(), 2, "the administrator and the auditor");
    (deployment, users)
}

async fn command_line_exports_all_users(store: Store) {
    let (deployment, users) = exported_users(store).await;
    let lines = deployment.run_ok(&["users", "export", "--all"]).await.stdout;
    let exported: Vec<Value> = lines.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    for (exported, user) in exported.iter().zip(&users) {
        for field in ["id", "email", "username", "is_active", "created_at", "roles"] {
            assert_eq!(exported[field], user[field], "{exported}");
        }
        assert_eq!(exported.as_object().unwrap().len(), 6, "{exported}");
    }
    assert_eq!(exported.len(), users.len());

    let table = deployment.run_ok(&["users", "export", "--all", "--format", "csv"]).await.stdout;
    let mut lines = table.lines();
    assert_eq!(lines.next(), Some("id,email,username,is_active,created_at,roles"));
    assert_eq!(lines.clone().count(), 2, "{table}");
    let auditor = lines.find(|line| line.contains("au=dit@example.com")).unwrap();
    for cell in ["\"=1+1, \"\"x\"\"\"", ",false,", "\"auditor,operator\""] {
        assert!(auditor.contains(cell), "{cell}: {auditor}");
    }
    let log = deployment.json(&["events", "list", "--type", "PasswordHashesExported"]).await;
    assert!(log.is_empty(), "{log:?}");
}

async fn hashes_are_exported_after_confirmation_and_leave_an_event(store: Store) {
    let (deployment, _) = exported_users(store).await;
    let export = ["users", "export", "--all", "--with-hashes"];
    for invalid in [
        &export[..],
        &["users", "export", "--with-hashes", "--yes"],
        &["users", "export", "--all", "--yes"],
        &["users", "export", "--all", "ada"],
        &["users", "export", "ada", "--format", "csv"],
        &["users", "export"],
    ] {
        let refused = deployment.run(invalid).await;
        assert_eq!((refused.code, refused.stdout.as_str()), (Some(2), ""), "{invalid:?}: {refused:?}");
    }
    let lines = deployment.run_ok(&[&export[..], &["--yes"]].concat()).await.stdout;
    let hashes: Vec<_> = lines
        .lines()
        .map(|line| serde_json::from_str::<Value>(line).unwrap()["password_hash"].as_str().map(str::to_owned))
        .collect();
    let known: Vec<_> = hashes.iter().flatten().collect();
    assert!(matches!(known[..], [hash] if hash.starts_with("$argon2id$")), "{lines}");
    let table = deployment.run_ok(&[&export[..], &["--yes", "--format", "csv"]].concat()).await.stdout;
    assert!(table.starts_with("id,email,username,is_active,created_at,roles,password_hash\n"), "{table}");
    assert!(table.contains(&format!("\"{}\"", known[0])), "{table}");

    let log = deployment.json(&["events", "list", "--type", "PasswordHashesExported"]).await;
    assert_eq!(log.len(), 2);
    assert!(log[0]["actor"].as_str().unwrap().starts_with("operator:"), "{log:?}");
    assert_eq!(deployment.run(&["events", "verify"]).await.code, Some(0));
    assert_eq!(deployment.run(&["projections", "verify", "users"]).await.code, Some(0));
}

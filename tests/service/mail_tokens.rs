//! Links in mails: verification of the e-mail address, reset of the password, invitations; and attacks on them.

use std::time::{Duration, Instant};

use aegis::crypto::{MailPurpose, MailToken};
use domain::{Role, UserCommand, UserId};
use futures::future::join_all;
use jiff::SignedDuration;
use jsonwebtoken::Algorithm;
use reqwest::Method;
use serde_json::{Value, json};
use store::Env;

use crate::support::{
    PASSWORD, Request, Response, SECRET_KEY, Store, TestApp, User, credentials, email_of, on_both_stores,
    sign_token,
};

on_both_stores! {
    reset_sets_the_password_and_ends_every_token
    reset_link_works_once
    one_of_twenty_concurrent_uses_wins
    changes_of_the_account_void_reset_links
    harmless_events_and_later_requests_void_no_link
    verification_link_works_once_and_until_the_address_changes
    requested_verification_of_a_verified_address_records_nothing
    invitation_sets_the_first_password
    tokens_of_others_are_invalid
    tokens_expire
    mail_tokens_are_no_access_tokens
    weak_and_short_passwords_leave_the_link_valid
    forgotten_password_is_answered_the_same_for_every_address
    requests_are_limited_by_the_log
    requests_are_limited_by_address
    used_link_is_refused_while_the_read_model_lags
    link_of_a_lagging_user_is_accepted
    keys_of_every_kind_sign_and_rotate
    links_of_before_a_restore_are_void
    repeated_and_conditional_uses
    verification_is_shown_everywhere
}

const NEW_PASSWORD: &str = "a much longer way to say it";
const OTHER_PASSWORD: &str = "yet another way to say it";
const PURPOSES: [MailPurpose; 3] = MailPurpose::ALL;

/// The token as the mail worker issues it, for the event of that version.
fn token(app: &TestApp, purpose: MailPurpose, user: &str, version: u64) -> String {
    let expires_at = app.now() + SignedDuration::try_from(purpose.lifetime()).unwrap();
    let epoch = app.services().store.identity().epoch;
    app.mail_token(MailToken { purpose, user: UserId::parse(user).unwrap(), version, epoch }, expires_at)
}

async fn reset(app: &TestApp, token: &str, new_password: &str) -> Response {
    app.post("/auth/password/reset").json(&json!({"token": token, "new_password": new_password})).send().await
}

async fn verify(app: &TestApp, token: &str) -> Response {
    app.post("/auth/verify-email").json(&json!({"token": token})).send().await
}

async fn forgot(app: &TestApp, email: &str) -> Response {
    app.post("/auth/password/forgot").json(&json!({"email": email})).send().await
}

/// The types of the user's events, in order.
async fn events_of(admin: &User, id: &str) -> Vec<String> {
    let log = admin.whole_log().await.into_iter().filter(|event| event["subject"] == id);
    log.map(|event| event["type"].as_str().unwrap().to_owned()).collect()
}

/// Requests a reset and returns the link's token, which is for the newest event.
async fn requested_reset(app: &TestApp, admin: &User, user: &User) -> String {
    forgot(app, &user.email).await.expect(202);
    let events = events_of(admin, &user.id).await;
    assert_eq!(events.last().unwrap(), "PasswordResetRequested");
    token(app, MailPurpose::ResetPassword, &user.id, events.len().try_into().unwrap())
}

#[track_caller]
fn assert_invalid(answer: &Response, what: &str) {
    assert_eq!(answer.code(400), "invalid_token", "{what}");
    let detail = answer.json()["detail"].clone();
    assert_eq!(
        detail, "The link is not valid any more: it was used, has expired, or the account has changed",
        "{what}"
    );
}

async fn log_in_ok(app: &TestApp, email: &str, password: &str) -> String {
    let answer = app.log_in(email, password).await.expect(200).json();
    answer["access_token"].as_str().unwrap().to_owned()
}

async fn reset_sets_the_password_and_ends_every_token(store: Store) {
    let app = TestApp::start(store).await;
    let (admin, ada) = (app.admin().await, app.sign_up("ada").await);
    let form = [
        ("grant_type", "password"),
        ("username", &*ada.email),
        ("password", PASSWORD),
        ("scope", "offline_access"),
    ];
    let session = app.post("/auth/token").form(&form).send().await.expect(200).json();
    let link = requested_reset(&app, &admin, &ada).await;
    let answer = reset(&app, &link, NEW_PASSWORD).await.expect(204);
    assert_eq!((answer.text(), answer.header("ETag")), (String::new(), "\"4\""));
    assert_eq!(answer.position(), app.head().await);
    let expected = ["UserRegistered", "PasswordResetRequested", "PasswordChanged", "EmailVerified"];
    assert_eq!(events_of(&admin, &ada.id).await, expected);
    assert_eq!(app.me(&ada.token).await.code(403), "token_revoked");
    app.me(session["access_token"].as_str().unwrap()).await.expect(403);
    let form =
        [("grant_type", "refresh_token"), ("refresh_token", session["refresh_token"].as_str().unwrap())];
    assert_eq!(app.post("/auth/token").form(&form).send().await.code(400), "invalid_grant");
    assert_eq!(app.log_in(&ada.email, PASSWORD).await.code(400), "invalid_credentials");
    log_in_ok(&app, &ada.email, NEW_PASSWORD).await;
    let log = admin.whole_log().await;
    let actors: Vec<_> =
        log.iter().filter(|it| it["subject"] == ada.id.as_str()).map(|it| &it["actor"]).collect();
    let own = json!(format!("user-{}", ada.id));
    assert_eq!(actors, [&own, &json!("system"), &own, &own]);
}

async fn reset_link_works_once(store: Store) {
    let app = TestApp::start(store).await;
    let (admin, ada) = (app.admin().await, app.sign_up("ada").await);
    let link = requested_reset(&app, &admin, &ada).await;
    let second = requested_reset(&app, &admin, &ada).await;
    reset(&app, &link, NEW_PASSWORD).await.expect(204);
    let before = app.head().await;
    for link in [&link, &second] {
        assert_invalid(&reset(&app, link, OTHER_PASSWORD).await, "used");
    }
    assert_eq!(app.head().await, before);
    log_in_ok(&app, &ada.email, NEW_PASSWORD).await;
    // A new request gives a new link.
    let link = requested_reset(&app, &admin, &ada).await;
    reset(&app, &link, OTHER_PASSWORD).await.expect(204);
    assert_eq!(events_of(&admin, &ada.id).await.last().unwrap(), "PasswordChanged", "verified before");
}

async fn one_of_twenty_concurrent_uses_wins(store: Store) {
    let app = TestApp::start_with(store, |settings| settings.rate_limits = false).await;
    let (admin, ada) = (app.admin().await, app.sign_up("ada").await);
    let link = requested_reset(&app, &admin, &ada).await;
    let passwords: Vec<_> = (0..20).map(|number| format!("{NEW_PASSWORD} {number}")).collect();
    let answers = join_all(passwords.iter().map(|password| reset(&app, &link, password))).await;
    let won: Vec<_> = answers.iter().zip(&passwords).filter(|(answer, _)| answer.status() == 204).collect();
    let [(_, password)] = won[..] else {
        panic!("{:?}", answers.iter().map(Response::status).collect::<Vec<_>>())
    };
    for answer in answers.iter().filter(|answer| answer.status() != 204) {
        assert_invalid(answer, "lost the race");
    }
    log_in_ok(&app, &ada.email, password).await;
    let changes = events_of(&admin, &ada.id).await.iter().filter(|it| *it == "PasswordChanged").count();
    assert_eq!(changes, 1);
}

async fn changes_of_the_account_void_reset_links(store: Store) {
    let app = TestApp::start(store).await;
    let admin = app.admin().await;
    let ada = app.sign_up("ada").await;
    let link = requested_reset(&app, &admin, &ada).await;
    let body = json!({"current_password": PASSWORD, "new_password": NEW_PASSWORD});
    ada.post("/users/me/password").json(&body).send().await.expect(204);
    assert_invalid(&reset(&app, &link, OTHER_PASSWORD).await, "password changed");

    let bob = app.sign_up("bob").await;
    let link = requested_reset(&app, &admin, &bob).await;
    let body = json!({"email": email_of("robert"), "current_password": PASSWORD});
    bob.request(Method::PATCH, "/users/me").json(&body).send().await.expect(200);
    assert_invalid(&reset(&app, &link, OTHER_PASSWORD).await, "address changed");

    let eve = app.sign_up("eve").await;
    let link = requested_reset(&app, &admin, &eve).await;
    admin.deactivate(&eve.id).send().await.expect(200);
    assert_invalid(&reset(&app, &link, OTHER_PASSWORD).await, "deactivated");
    let before = app.head().await;
    forgot(&app, &eve.email).await.expect(202);
    assert_eq!(app.head().await, before, "no reset of a deactivated user");
    admin.reactivate(&eve.id).send().await.expect(200);
    assert_invalid(&reset(&app, &link, OTHER_PASSWORD).await, "reactivated");
    let link = requested_reset(&app, &admin, &eve).await;
    reset(&app, &link, NEW_PASSWORD).await.expect(204);

    let zoe = app.sign_up("zoe").await;
    let link = requested_reset(&app, &admin, &zoe).await;
    app.command(&zoe.id, UserCommand::Erase { reason: domain::ErasureReason::Request }).await;
    assert_invalid(&reset(&app, &link, OTHER_PASSWORD).await, "erased");
}

async fn harmless_events_and_later_requests_void_no_link(store: Store) {
    let app = TestApp::start(store).await;
    let (admin, ada) = (app.admin().await, app.sign_up("ada").await);
    let link = requested_reset(&app, &admin, &ada).await;
    log_in_ok(&app, &ada.email, PASSWORD).await;
    requested_reset(&app, &admin, &ada).await;
    ada.request(Method::PATCH, "/users/me").json(&json!({"username": "countess"})).send().await.expect(200);
    app.grant(&ada, Role::Auditor).await;
    ada.post("/auth/verify-email/request").send().await.expect(202);
    ada.post("/auth/logout-all").send().await.expect(204);
    reset(&app, &link, NEW_PASSWORD).await.expect(204);
}

async fn verification_link_works_once_and_until_the_address_changes(store: Store) {
    let app = TestApp::start(store).await;
    let (admin, ada) = (app.admin().await, app.sign_up("ada").await);
    let answer = ada.post("/auth/verify-email/request").send().await.expect(202);
    assert_eq!((answer.header("ETag"), answer.position()), ("\"2\"", app.head().await));
    let link = token(&app, MailPurpose::VerifyEmail, &ada.id, 2);
    let answer = verify(&app, &link).await.expect(204);
    assert_eq!((answer.header("ETag"), answer.position()), ("\"3\"", app.head().await));
    assert_invalid(&verify(&app, &link).await, "used");
    assert_eq!(admin.look_up(&ada.id).await["email_verified"], true);
    ada.get("/users/me").send().await.expect(200);

    let body = json!({"email": email_of("countess"), "current_password": PASSWORD});
    ada.request(Method::PATCH, "/users/me").json(&body).send().await.expect(200);
    assert_eq!(admin.look_up(&ada.id).await["email_verified"], false);
    ada.post("/auth/verify-email/request").send().await.expect(202);
    let link = token(&app, MailPurpose::VerifyEmail, &ada.id, 5);
    let body = json!({"email": ada.email, "current_password": PASSWORD});
    ada.request(Method::PATCH, "/users/me").json(&body).send().await.expect(200);
    assert_invalid(&verify(&app, &link).await, "for another address");
    assert_eq!(admin.look_up(&ada.id).await["email_verified"], false);
    // Deactivated, and reactivated.
    ada.post("/auth/verify-email/request").send().await.expect(202);
    let link = token(&app, MailPurpose::VerifyEmail, &ada.id, 7);
    admin.deactivate(&ada.id).send().await.expect(200);
    assert_invalid(&verify(&app, &link).await, "deactivated");
    admin.reactivate(&ada.id).send().await.expect(200);
    assert_invalid(&verify(&app, &link).await, "reactivated");
}

async fn requested_verification_of_a_verified_address_records_nothing(store: Store) {
    let app = TestApp::start(store).await;
    let ada = app.sign_up("ada").await;
    app.post("/auth/verify-email/request").send().await.expect(401);
    ada.post("/auth/verify-email/request").send().await.expect(202);
    verify(&app, &token(&app, MailPurpose::VerifyEmail, &ada.id, 2)).await.expect(204);
    let before = app.head().await;
    let answer = ada.post("/auth/verify-email/request").send().await.expect(202);
    assert_eq!((answer.header("Aegis-Position"), app.head().await), ("", before));
}

async fn invitation_sets_the_first_password(store: Store) {
    let app = TestApp::start(store).await;
    let admin = app.admin().await;
    let body = json!({"email": email_of("ada"), "username": "ada"});
    let id =
        admin.post("/users").json(&body).send().await.expect(201).json()["id"].as_str().unwrap().to_owned();
    let invitation = token(&app, MailPurpose::Invitation, &id, 1);
    assert_invalid(&verify(&app, &invitation).await, "another purpose");
    reset(&app, &invitation, NEW_PASSWORD).await.expect(204);
    assert_invalid(&reset(&app, &invitation, OTHER_PASSWORD).await, "used");
    log_in_ok(&app, &email_of("ada"), NEW_PASSWORD).await;
    assert_eq!(admin.look_up(&id).await["email_verified"], true);
    // One whose invitation was lost asks for a reset.
    let body = json!({"email": email_of("bob"), "username": "bob"});
    let id =
        admin.post("/users").json(&body).send().await.expect(201).json()["id"].as_str().unwrap().to_owned();
    let invitation = token(&app, MailPurpose::Invitation, &id, 1);
    forgot(&app, &email_of("bob")).await.expect(202);
    reset(&app, &token(&app, MailPurpose::ResetPassword, &id, 2), NEW_PASSWORD).await.expect(204);
    assert_invalid(&reset(&app, &invitation, OTHER_PASSWORD).await, "a password is set");
}

/// Another user, purpose or version, foreign signatures, and texts that are no tokens.
async fn tokens_of_others_are_invalid(store: Store) {
    let app = TestApp::start(store).await;
    let (admin, ada, eve) = (app.admin().await, app.sign_up("ada").await, app.sign_up("eve").await);
    let link = requested_reset(&app, &admin, &ada).await;
    ada.post("/auth/verify-email/request").send().await.expect(202);
    let verification = token(&app, MailPurpose::VerifyEmail, &ada.id, 3);
    let parts: Vec<_> = link.split('.').collect();
    let swapped = sign_token(
        &json!({"sub": eve.id, "aud": "aegis:reset-password", "exp": 4_000_000_000_u64, "ver": 2, "epoch": 1}),
        Algorithm::HS256,
        SECRET_KEY,
    );
    let swapped = swapped.split('.').nth(1).unwrap().to_owned();
    let foreign = sign_token(
        &json!({"sub": ada.id, "aud": "aegis:reset-password", "exp": 4_000_000_000_u64, "ver": 2, "epoch": 1}),
        Algorithm::HS256,
        "another secret of at least 32 bytes",
    );
    let absent = "0193e2b4-0000-7000-8000-00000000ffff";
    for (what, bad) in [
        ("swapped user, same signature", format!("{}.{swapped}.{}", parts[0], parts[2])),
        ("foreign signature", foreign),
        ("no signature", format!("{}.{}.", parts[0], parts[1])),
        ("a version that the stream has not reached", token(&app, MailPurpose::ResetPassword, &ada.id, 4)),
        ("version zero", token(&app, MailPurpose::ResetPassword, &ada.id, 0)),
        ("a user who does not exist", token(&app, MailPurpose::ResetPassword, absent, 1)),
        ("another purpose", verification.clone()),
        ("an access token", ada.token.clone()),
        ("no token", "x".to_owned()),
        ("a machine token", "aegis_0000000000000000000000_00000000000000000000000000000000".to_owned()),
        ("zero bytes", "\0\0".to_owned()),
        ("a long text", "x".repeat(4096)),
    ] {
        assert_invalid(&reset(&app, &bad, NEW_PASSWORD).await, what);
    }
    for (what, bad) in [("another purpose", &link), ("an access token", &ada.token)] {
        assert_invalid(&verify(&app, bad).await, what);
    }
    for body in [json!({}), json!({"token": null}), json!({"token": 7}), json!({"token": ""}), json!([])] {
        app.post("/auth/verify-email").json(&body).send().await.expect(422);
        app.post("/auth/password/reset").json(&body).send().await.expect(422);
    }
    verify(&app, &"x".repeat(4097)).await.expect(422);
    reset(&app, &link, NEW_PASSWORD).await.expect(204);
    assert_invalid(&verify(&app, &verification).await, "verified by the reset");
    log_in_ok(&app, &eve.email, PASSWORD).await;
}

async fn tokens_expire(store: Store) {
    let app = TestApp::start(store).await;
    let now = Env::system().now();
    app.clock.set(now);
    let ada = app.sign_up("ada").await;
    forgot(&app, &ada.email).await.expect(202);
    ada.post("/auth/verify-email/request").send().await.expect(202);
    let [verification, link, invitation] =
        [(0, 3), (1, 2), (2, 1)].map(|(purpose, version)| token(&app, PURPOSES[purpose], &ada.id, version));
    let at = |time: Duration| app.clock.set(now + SignedDuration::try_from(time).unwrap());
    for (link, purpose) in [(&link, MailPurpose::ResetPassword), (&invitation, MailPurpose::Invitation)] {
        at(purpose.lifetime());
        assert_invalid(&reset(&app, link, NEW_PASSWORD).await, "expired");
    }
    at(MailPurpose::VerifyEmail.lifetime());
    assert_invalid(&verify(&app, &verification).await, "expired");
    at(MailPurpose::ResetPassword.lifetime().checked_sub(Duration::from_secs(1)).unwrap());
    verify(&app, &verification).await.expect(204);
    reset(&app, &link, NEW_PASSWORD).await.expect(204);
}

/// On every path that takes an access token.
async fn mail_tokens_are_no_access_tokens(store: Store) {
    let app = TestApp::start(store).await;
    let (admin, ada) = (app.admin().await, app.sign_up("ada").await);
    forgot(&app, &ada.email).await.expect(202);
    for purpose in PURPOSES {
        let link = token(&app, purpose, &ada.id, 2);
        assert_eq!(app.me(&link).await.code(403), "invalid_token");
        for (method, path) in aegis::http::routes(&TestApp::settings_of(app.store()).http) {
            let path = path.replace("{id}", &ada.id).replace("{role}", "admin").replace("{name}", "users");
            let Some(path) = path.strip_prefix("/api/v1").map(|path| path.replace("{position}", "1")) else {
                continue;
            };
            let answer = ada.with_token(&link).request(method.clone(), &path).json(&json!({})).send().await;
            let without = app.request(method.clone(), &path).json(&json!({})).send().await;
            // What needs a token refuses this one; what needs none does not look at it.
            let refused = if without.status() == 401 { [403, 401] } else { [without.status(); 2] };
            assert!(
                refused.contains(&answer.status()),
                "{method} {path}: {} {}",
                answer.status(),
                answer.text()
            );
        }
        let form = [("token", &*link)];
        let introspected = admin.post("/auth/introspect").form(&form).send().await.expect(200).json();
        assert_eq!(introspected, json!({"active": false}));
        let before = app.head().await;
        app.post("/auth/revoke").form(&form).send().await.expect(200);
        assert_eq!(app.head().await, before);
        let form = [("grant_type", "refresh_token"), ("refresh_token", &*link)];
        assert_eq!(app.post("/auth/token").form(&form).send().await.code(400), "invalid_grant");
    }
    ada.get("/users/me").send().await.expect(200);
}

async fn weak_and_short_passwords_leave_the_link_valid(store: Store) {
    let app = TestApp::start(store).await;
    let (admin, ada) = (app.admin().await, app.sign_up("countess").await);
    let link = requested_reset(&app, &admin, &ada).await;
    // E-mail address and username are inputs of the score.
    for weak in ["password1", "countess1", "countess@example.com"] {
        let answer = reset(&app, &link, weak).await.expect(422).json();
        assert_eq!(answer["detail"][0]["loc"], json!(["body", "new_password"]), "{answer}");
        assert!(answer["detail"][0]["ctx"]["reason"].is_string(), "{answer}");
        assert!(!answer.to_string().contains(weak), "{answer}");
    }
    for bad in ["short", &"x".repeat(1025)] {
        reset(&app, &link, bad).await.expect(422);
    }
    assert_eq!(events_of(&admin, &ada.id).await.len(), 2);
    reset(&app, &link, NEW_PASSWORD).await.expect(204);
    // An invalid link is refused whatever the strength of the password.
    assert_invalid(&reset(&app, &link, "password1").await, "used");
}

/// The status, the body and all headers but the request id and the date.
fn shown(answer: &Response) -> (u16, String, Vec<(String, String)>) {
    let varies = ["x-request-id", "date"];
    let headers = answer.headers().into_iter().filter(|(name, _)| !varies.contains(&name.as_str()));
    (answer.status(), answer.text(), headers.collect())
}

async fn forgotten_password_is_answered_the_same_for_every_address(store: Store) {
    let app = TestApp::start(store).await;
    let (admin, ada) = (app.admin().await, app.sign_up("ada").await);
    let (gone, idle) = (app.sign_up("gone").await, app.sign_up("idle").await);
    app.command(&gone.id, UserCommand::Erase { reason: domain::ErasureReason::Request }).await;
    admin.deactivate(&idle.id).send().await.expect(200);
    let known = forgot(&app, &ada.email).await.expect(202);
    assert_eq!((known.text(), known.header("Aegis-Position")), (String::new(), ""));
    let body = |email: &str| json!({"email": email});
    for (what, email) in [
        ("unknown", "unknown@example.com"),
        ("erased", &*gone.email),
        ("deactivated", &*idle.email),
        ("another spelling", " ADA@EXAMPLE.COM"),
        ("the same", &*ada.email),
        ("beyond the limit", &*ada.email),
        ("still beyond it", &*ada.email),
    ] {
        let began = Instant::now();
        assert_eq!(shown(&forgot(&app, email).await), shown(&known), "{what}");
        // Not before the first tick; when exactly is tested with a paused clock.
        assert!(began.elapsed() >= Duration::from_millis(250), "{what}");
        // What would tell by another way: a condition, a key that was recorded, a position, a caller.
        let with =
            |(name, value)| app.post("/auth/password/forgot").json(&body(email)).header(name, value).send();
        let answers = join_all(
            [
                ("If-Match", "\"1\""),
                ("If-None-Match", "*"),
                ("Idempotency-Key", "the same key for all"),
                ("Aegis-Min-Position", "1"),
                ("Authorization", "Bearer x"),
            ]
            .map(with),
        );
        for answer in answers.await {
            assert_eq!(shown(&answer), shown(&known), "{what}");
        }
    }
    let requests =
        events_of(&admin, &ada.id).await.iter().filter(|it| *it == "PasswordResetRequested").count();
    assert_eq!(requests, 3);
    assert_eq!(events_of(&admin, &idle.id).await, ["UserRegistered", "UserDeactivated"]);
    for body in [json!({}), json!({"email": "ada"}), json!({"email": 7})] {
        app.post("/auth/password/forgot").json(&body).send().await.expect(422);
    }
}

async fn requests_are_limited_by_the_log(store: Store) {
    let app = TestApp::start_with(store, |settings| settings.rate_limits = false).await;
    let now = Env::system().now();
    app.clock.set(now);
    let (ada, bob) = (app.sign_up("ada").await, app.sign_up("bob").await);
    let verification = || ada.post("/auth/verify-email/request").send();
    for _ in 0..3 {
        verification().await.expect(202);
    }
    let refused = verification().await;
    assert_eq!((refused.code(429), refused.header("Retry-After")), ("rate_limited".to_owned(), "3600"));
    bob.post("/auth/verify-email/request").send().await.expect(202);
    // Resets are counted apart, and a restart forgets nothing.
    let before = app.head().await;
    for _ in 0..5 {
        forgot(&app, &ada.email).await.expect(202);
    }
    assert_eq!(app.head().await, before + 3);
    let second = app.start_second_node().await;
    forgot(&second, &ada.email).await.expect(202);
    assert_eq!(app.head().await, before + 3);
    let at = |seconds| app.clock.set(now + SignedDuration::from_secs(seconds));
    at(3599);
    let token = log_in_ok(&app, &ada.email, PASSWORD).await;
    let ada = ada.with_token(&token);
    let refused = ada.post("/auth/verify-email/request").send().await;
    assert_eq!((refused.code(429), refused.header("Retry-After")), ("rate_limited".to_owned(), "1"));
    at(3600);
    let before = app.head().await;
    ada.post("/auth/verify-email/request").send().await.expect(202);
    forgot(&app, &ada.email).await.expect(202);
    assert_eq!(app.head().await, before + 2);
    // Concurrent requests do not add up to more.
    at(3 * 3600);
    let before = app.head().await;
    let answers = join_all((0..10).map(|_| forgot(&app, &ada.email))).await;
    assert!(answers.iter().all(|answer| answer.status() == 202));
    assert_eq!(app.head().await, before + 3);
}

/// How many requests are accepted before one is refused, and by which policy.
async fn until_refused(request: impl Fn() -> Request) -> (usize, String) {
    for count in 0..1_000 {
        let answer = request().send().await;
        if answer.status() == 429 {
            assert_eq!(answer.code(429), "rate_limited");
            return (count, answer.header("RateLimit-Policy").to_owned());
        }
    }
    panic!("no limit");
}

async fn requests_are_limited_by_address(store: Store) {
    let app = TestApp::start(store).await;
    let now = Env::system().now();
    app.clock.set(now);
    let bogus = json!({"token": "x", "new_password": NEW_PASSWORD});
    let tokens = until_refused(|| app.post("/auth/verify-email").json(&bogus)).await;
    assert_eq!(tokens, (120, "\"mail-tokens\";q=120;w=60".to_owned()));
    app.post("/auth/password/reset").json(&bogus).send().await.expect(429);
    let ada = app.sign_up("ada").await;
    let requests = until_refused(|| ada.post("/auth/verify-email/request").header("If-Match", "\"9\"")).await;
    assert_eq!(requests, (60, "\"mail-requests\";q=60;w=900".to_owned()));
    forgot(&app, "unknown@example.com").await.expect(429);
}

async fn used_link_is_refused_while_the_read_model_lags(store: Store) {
    let app = TestApp::start(store).await;
    let (admin, ada) = (app.admin().await, app.sign_up("ada").await);
    let link = requested_reset(&app, &admin, &ada).await;
    let idle = TestApp::start_without_projector(app.store().clone()).await;
    app.stopped().await;
    reset(&idle, &link, NEW_PASSWORD).await.expect(204);
    assert_invalid(&reset(&idle, &link, OTHER_PASSWORD).await, "used");
    let head = idle.head().await;
    forgot(&idle, &ada.email).await.expect(202);
    assert_eq!(idle.head().await, head + 1);
}

/// A user whose row does not exist yet can ask for a link and use it.
async fn link_of_a_lagging_user_is_accepted(store: Store) {
    let app = TestApp::start_without_projector(store).await;
    let answer = app.post("/auth/signup").json(&credentials("ada")).send().await.expect(201);
    let id = answer.json()["id"].as_str().unwrap().to_owned();
    forgot(&app, &email_of("ada")).await.expect(202);
    assert_eq!(app.head().await, 2);
    reset(&app, &token(&app, MailPurpose::ResetPassword, &id, 2), NEW_PASSWORD).await.expect(204);
}

async fn start(store: &Store, algorithm: Algorithm, previous: Option<Algorithm>) -> TestApp {
    TestApp::start_with(store.clone(), |settings| {
        settings.tokens.algorithm = algorithm;
        settings.tokens.previous_algorithm = previous;
        settings.tokens.lifetime = Duration::from_mins(5);
    })
    .await
}

async fn keys_of_every_kind_sign_and_rotate(store: Store) {
    let app = start(&store, Algorithm::HS256, None).await;
    let ada = app.sign_up("ada").await;
    let invitation = token(&app, MailPurpose::Invitation, &ada.id, 1);
    app.stopped().await;
    let app = start(&store, Algorithm::EdDSA, None).await;
    assert_invalid(&reset(&app, &invitation, NEW_PASSWORD).await, "not the configured algorithm");
    app.stopped().await;
    let app = start(&store, Algorithm::EdDSA, Some(Algorithm::HS256)).await;
    let now = Env::system().now();
    app.clock.set(now);
    let own = token(&app, MailPurpose::Invitation, &ada.id, 1);
    assert_eq!(app.me(&own).await.code(403), "invalid_token");
    crate::signing_keys::rotate(&app, true).await;
    // The node loads the keys at the latest when a token names one that it does not know. Keys are kept for as long
    // as mail tokens live, though access tokens live for five minutes.
    app.clock.set(now + SignedDuration::from_hours(71));
    app.services().token_keys.as_ref().unwrap().load().await.unwrap();
    reset(&app, &own, NEW_PASSWORD).await.expect(204);
    assert_invalid(&reset(&app, &invitation, OTHER_PASSWORD).await, "a password is set");
    let second = app.start_second_node().await;
    crate::signing_keys::rotate(&app, true).await;
    app.services().token_keys.as_ref().unwrap().load().await.unwrap();
    forgot(&app, &ada.email).await.expect(202);
    let version = app.head().await;
    let link = token(&app, MailPurpose::ResetPassword, &ada.id, version);
    reset(&second, &link, OTHER_PASSWORD).await.expect(204);
}

async fn links_of_before_a_restore_are_void(store: Store) {
    let app = TestApp::start(store).await;
    let ada = app.sign_up("ada").await;
    let user = UserId::parse(&ada.id).unwrap();
    let epoch = app.services().store.identity().epoch + 1;
    let expires_at = app.now() + SignedDuration::from_mins(5);
    for (purpose, path) in
        [(MailPurpose::Invitation, "/auth/password/reset"), (MailPurpose::VerifyEmail, "/auth/verify-email")]
    {
        let link = app.mail_token(MailToken { purpose, user, version: 1, epoch }, expires_at);
        let body = json!({"token": link, "new_password": NEW_PASSWORD});
        assert_invalid(&app.post(path).json(&body).send().await, "of another epoch");
    }
    reset(&app, &token(&app, MailPurpose::Invitation, &ada.id, 1), NEW_PASSWORD).await.expect(204);
}

async fn repeated_and_conditional_uses(store: Store) {
    let app = TestApp::start(store).await;
    let (admin, ada) = (app.admin().await, app.sign_up("ada").await);
    let link = requested_reset(&app, &admin, &ada).await;
    let request = |path: &str, body: Value| app.post(path).json(&body).header("Idempotency-Key", "once");
    let body = json!({"token": link, "new_password": NEW_PASSWORD});
    let refused = request("/auth/password/reset", body.clone()).header("If-Match", "\"1\"").send().await;
    assert_eq!(refused.code(412), "version_mismatch");
    let first = request("/auth/password/reset", body.clone()).send().await.expect(204);
    let again = request("/auth/password/reset", body).send().await.expect(204);
    assert_eq!(again.header("Aegis-Position"), first.header("Aegis-Position"));
    let bob = app.sign_up("bob").await;
    let before = app.head().await;
    for _ in 0..2 {
        bob.post("/auth/verify-email/request").header("Idempotency-Key", "once").send().await.expect(202);
    }
    assert_eq!(app.head().await, before + 1);
    let body = json!({"token": token(&app, MailPurpose::VerifyEmail, &bob.id, 2)});
    for _ in 0..2 {
        request("/auth/verify-email", body.clone()).send().await.expect(204);
    }
    assert_eq!(app.head().await, before + 2);
}

async fn verification_is_shown_everywhere(store: Store) {
    let app = TestApp::start(store).await;
    let (admin, ada) = (app.admin().await, app.sign_up("ada").await);
    let registered = app.head().await;
    let me = async |query: &str| ada.get(&format!("/users/me{query}")).send().await.expect(200).json();
    assert_eq!(me("?fields=all").await["email_verified"], false);
    ada.post("/auth/verify-email/request").send().await.expect(202);
    verify(&app, &token(&app, MailPurpose::VerifyEmail, &ada.id, 2)).await.expect(204);
    assert_eq!(me("?fields=all").await["email_verified"], true);
    // The five fields of the legacy service.
    assert_eq!(me("").await.as_object().unwrap().len(), 5);
    ada.get("/users/me?fields=some").send().await.expect(422);
    assert_eq!(admin.look_up(&ada.id).await["email_verified"], true);
    let past = admin.get(&format!("/users/{}?as_of={registered}", ada.id)).send().await.expect(200).json();
    assert_eq!(past["email_verified"], false);
    let history = admin.get(&format!("/users/{}/events", ada.id)).send().await.expect(200).json();
    let verified = &history["events"][2];
    assert_eq!(verified["type"], "EmailVerified");
    assert_eq!(verified["changes"], json!([{"field": "email_verified", "from": false, "to": true}]));
    let export = ada.get("/users/me/export").send().await.expect(200).json();
    assert_eq!(export["account"]["email_verified"], true, "{export}");
    // It ends with the address.
    let body = json!({"email": email_of("countess"), "current_password": PASSWORD});
    ada.request(Method::PATCH, "/users/me").json(&body).send().await.expect(200);
    assert_eq!(me("?fields=all").await["email_verified"], false);
    let history = admin.get(&format!("/users/{}/events", ada.id)).send().await.expect(200).json();
    let fields: Vec<_> =
        history["events"][3]["changes"].as_array().unwrap().iter().map(|it| &it["field"]).collect();
    assert_eq!(fields, ["email", "email_verified"]);
    app.services().proofs.verify(aegis::query::claim_change, None, &mut |_, _| {}).await.unwrap();
}

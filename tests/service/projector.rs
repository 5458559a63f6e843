//! A projector that stands still turns nobody into nobody.

use aegis::command::{Cause, SignUp};
use domain::{Command, EmailAddress, PasswordHash, UserId, Username};
use futures::future::join_all;
use projections::{Projection, Users, models};
use serde_json::json;
use store::{Ambient, Append, Expected, NewEvent, StreamId, StreamWrite};

use crate::support::{
    Answer, Installation, MASTER_KEY, PASSWORD, Store, TestApp, credentials, email_of, on_both_stores,
    signed, until,
};

on_both_stores! {
    without_a_projector_a_fresh_user_is_asked_to_come_back
    without_a_projector_a_deactivated_user_is_not_let_in_by_a_position
    an_event_that_nobody_knows_halts_the_projector_and_hides_nobody
    another_node_projects_for_one_that_does_not
    a_rebuild_lets_nobody_in_who_was_shut_out_and_hides_nobody
}

#[track_caller]
fn assert_behind(answer: &Answer) {
    let body = answer.refusal(503);
    assert_eq!(body["code"], "projection_behind", "{body}");
    assert!((1..=60).contains(&answer.retry_after()), "{answer:?}");
}

/// Signs somebody up whom the read models do not show; their id.
async fn sign_up_unseen(app: &TestApp, name: &str) -> String {
    let answer = app.post("/auth/signup").json(&credentials(name)).send().await.expect(201);
    answer.json()["id"].as_str().unwrap().to_owned()
}

/// A token that the service would have issued.
fn token_for(id: &str) -> String {
    let claims = json!({"sub": id, "exp": 4_000_000_000_u64, "ver": 1});
    signed(&claims, jsonwebtoken::Algorithm::HS256, crate::support::SECRET_KEY)
}

async fn without_a_projector_a_fresh_user_is_asked_to_come_back(store: Store) {
    let app = TestApp::without_projector(store).await;
    let id = sign_up_unseen(&app, "ada").await;
    assert_behind(&app.log_in(&email_of("ada"), PASSWORD).await);
    assert_behind(&app.log_in(&email_of("ada"), "wrong").await);
    assert_behind(&app.log_in("nobody@example.com", PASSWORD).await);
    assert_behind(&app.me(&token_for(&id)).await);
    let waiting = app.post("/auth/login/access-token").header("Aegis-Min-Position", "1");
    assert_behind(&waiting.form(&[("username", &email_of("ada")), ("password", PASSWORD)]).send().await);
    app.get("/health").send().await.expect(200);
    // Sign-up asks the log, not the rows.
    let twin = app.post("/auth/signup").json(&credentials("ada")).send().await;
    assert_eq!(twin.code(400), "email_taken");
}

async fn without_a_projector_a_deactivated_user_is_not_let_in_by_a_position(store: Store) {
    let app = TestApp::start(store).await;
    let user = app.sign_up("ada").await;
    let idle = TestApp::without_projector(app.store().clone()).await;
    idle.me(&user.token).await.expect(200);
    app.command(&user.id, Command::Deactivate { reason: None }).await;
    let head = app.node().store.head().await.unwrap().position.to_string();
    let me = idle.get("/users/me").bearer(&user.token).header("Aegis-Min-Position", &head);
    assert_eq!(me.send().await.code(403), "inactive_user");
}

/// Appends an event to a user's stream that no projection of users takes in; its position.
pub(crate) async fn append_poison(app: &TestApp, id: &str) -> u64 {
    let event = NewEvent {
        id: Ambient::system().uuid(),
        event_type: "UserTeleported".to_owned(),
        schema: 1,
        data: serde_json::Map::new(),
        personal: serde_json::Map::new(),
    };
    let stream = StreamId::new(format!("user-{id}")).unwrap();
    let writes = vec![StreamWrite::new(stream, Expected::Any, vec![event])];
    let append = Append::new("system", "test", writes);
    app.node().store.append(&append).await.unwrap().position.get()
}

async fn an_event_that_nobody_knows_halts_the_projector_and_hides_nobody(store: Store) {
    let app = TestApp::start(store).await;
    let (known, other) = (app.sign_up("known").await, app.sign_up("other").await);
    let position = append_poison(&app, &other.id).await;
    let unready =
        until("the halt", async || Some(app.readiness().await).filter(|answer| answer.status() == 503)).await;
    // Everybody may ask, so it names the part and no more; operators are told all.
    let body = unready.json();
    assert_eq!(
        (&body["users"], &body["database"], &body["lag"]),
        (&json!("halted"), &json!("ok"), &json!(1))
    );
    let installation = Installation::of(app.store().clone()).with("AEGIS_MASTER_KEY", MASTER_KEY);
    let status = installation.json(&["projections", "status"]).await;
    let (name, users) = (&status[0]["name"], &status[0]["versions"][0]);
    assert_eq!((name, &users["state"]), (&json!("users"), &json!("halted")), "{status:?}");
    let reason = users["error"].as_str().unwrap();
    assert!(
        reason.contains(&format!("position {position} ")) && reason.contains("UserTeleported"),
        "{reason}"
    );
    // Who was known before is served. But once a row is known to be old, nobody comes in by it: not the one whom the
    // poison is about, and not one who is deactivated only now.
    app.me(&known.token).await.expect(200);
    app.log_in(&known.email, PASSWORD).await.expect(200);
    let cause = Cause::new("system", "test");
    let id = UserId::parse(&known.id).unwrap();
    app.node().users.execute(&cause, id, &Command::Deactivate { reason: None }, None).await.unwrap();
    for user in [&known, &other] {
        let refused = async || Some(app.me(&user.token).await).filter(|answer| answer.status() != 200);
        assert_behind(&until("the old row to be distrusted", refused).await);
        assert_behind(&app.log_in(&user.email, PASSWORD).await);
    }
    let id = sign_up_unseen(&app, "fresh").await;
    assert_behind(&app.log_in(&email_of("fresh"), PASSWORD).await);
    assert_behind(&app.me(&token_for(&id)).await);
    app.get("/health").send().await.expect(200);
    app.readiness().await.expect(503);
}

async fn another_node_projects_for_one_that_does_not(store: Store) {
    let idle = TestApp::without_projector(store).await;
    let working = TestApp::start(idle.store().clone()).await;
    for number in 0..10 {
        let user = idle.sign_up(&format!("user{number}")).await;
        idle.me(&user.token).await.expect(200);
        working.me(&user.token).await.expect(200);
    }
}

async fn a_rebuild_lets_nobody_in_who_was_shut_out_and_hides_nobody(store: Store) {
    let app = TestApp::start(store).await;
    let (out, known) = (app.sign_up("out").await, app.sign_up("known").await);
    // More than a projector takes in at once, between what let the user in and what shut them out.
    let password_hash = PasswordHash::new("$argon2id$none".to_owned()).unwrap();
    let others = (0..700).map(|number| SignUp {
        email: EmailAddress::parse(&format!("other{number}@example.com")).unwrap(),
        username: Username::parse(&format!("other{number}")).unwrap(),
        password_hash: password_hash.clone(),
    });
    let users = &app.node().users;
    for done in join_all(others.map(|other| users.sign_up("test", None, other))).await {
        done.unwrap();
    }
    let deactivate = json!({"password": PASSWORD});
    app.post("/users/me/deactivate").bearer(&out.token).json(&deactivate).send().await.expect(204);

    let store = &app.node().store;
    let now = Ambient::system().now();
    let building = models::rebuild(&Users, &app.node().sources, "test", now).await.unwrap();
    let mut asked = 0;
    while store.signal().live(Users.name()) != building.last || asked <= 10 {
        assert_eq!(app.me(&out.token).await.code(403), "inactive_user");
        app.me(&known.token).await.expect(200);
        asked += 1;
    }
    assert_eq!(app.me(&out.token).await.code(403), "inactive_user");
    let fresh = app.sign_up("fresh").await;
    app.me(&fresh.token).await.expect(200);
}

//! A stalled projector never makes a user look nonexistent.

use aegis::command::CommandContext;
use domain::{EmailAddress, PasswordHash, UserCommand, UserId, Username};
use futures::future::join_all;
use projections::{Projection, Users, lifecycle};
use serde_json::json;
use store::{Append, Env, ExpectedVersion, NewEvent, StreamId, StreamWrite};

use crate::support::{
    Deployment, MASTER_KEY, PASSWORD, Response, Store, TestApp, credentials, email_of, eventually,
    on_both_stores, sign_token,
};

on_both_stores! {
    without_a_projector_a_new_user_gets_projection_behind
    deactivated_token_stays_void_while_projection_lags
    unknown_event_halts_the_projector_and_hides_no_user
    node_without_projector_uses_another_nodes_projections
    rebuild_admits_no_deactivated_user_and_hides_no_user
}

#[track_caller]
fn assert_behind(answer: &Response) {
    let body = answer.error_body(503);
    assert_eq!(body["code"], "projection_behind", "{body}");
    assert!((1..=60).contains(&answer.retry_after()), "{answer:?}");
}

/// Signs up a user that is not projected; returns the id.
async fn sign_up_unprojected(app: &TestApp, name: &str) -> String {
    let answer = app.post("/auth/signup").json(&credentials(name)).send().await.expect(201);
    answer.json()["id"].as_str().unwrap().to_owned()
}

/// A valid token.
fn token_for(id: &str) -> String {
    let claims = json!({"sub": id, "exp": 4_000_000_000_u64, "ver": 1});
    sign_token(&claims, jsonwebtoken::Algorithm::HS256, crate::support::SECRET_KEY)
}

async fn without_a_projector_a_new_user_gets_projection_behind(store: Store) {
    let app = TestApp::start_without_projector(store).await;
    let id = sign_up_unprojected(&app, "ada").await;
    assert_behind(&app.log_in(&email_of("ada"), PASSWORD).await);
    assert_behind(&app.log_in(&email_of("ada"), "wrong").await);
    assert_behind(&app.log_in("unknown@example.com", PASSWORD).await);
    assert_behind(&app.me(&token_for(&id)).await);
    let waiting = app.post("/auth/login/access-token").header("Aegis-Min-Position", "1");
    assert_behind(&waiting.form(&[("username", &email_of("ada")), ("password", PASSWORD)]).send().await);
    app.get("/health").send().await.expect(200);
    // Sign-up checks unique claims in the log, not in the read model.
    let twin = app.post("/auth/signup").json(&credentials("ada")).send().await;
    assert_eq!(twin.code(400), "email_taken");
}

async fn deactivated_token_stays_void_while_projection_lags(store: Store) {
    let app = TestApp::start(store).await;
    let user = app.sign_up("ada").await;
    let idle = TestApp::start_without_projector(app.store().clone()).await;
    idle.me(&user.token).await.expect(200);
    app.command(&user.id, UserCommand::Deactivate { reason: None }).await;
    let head = app.head().await.to_string();
    let me = idle.get("/users/me").bearer(&user.token).header("Aegis-Min-Position", &head);
    assert_eq!(me.send().await.code(403), "inactive_user");
}

/// Appends an event of unknown type to the stream of a user, which halts the projector; returns its position.
pub(crate) async fn append_unknown_event(app: &TestApp, id: &str) -> u64 {
    let event = NewEvent {
        id: Env::system().uuid(),
        event_type: "UserTeleported".to_owned(),
        schema: 1,
        data: serde_json::Map::new(),
        personal: serde_json::Map::new(),
    };
    let stream = StreamId::new(format!("user-{id}")).unwrap();
    let writes = vec![StreamWrite::new(stream, ExpectedVersion::Any, vec![event])];
    let append = Append::new("system", "test", writes);
    app.services().store.append(&append).await.unwrap().position.get()
}

async fn unknown_event_halts_the_projector_and_hides_no_user(store: Store) {
    let app = TestApp::start(store).await;
    let (known, other) = (app.sign_up("known").await, app.sign_up("other").await);
    let position = append_unknown_event(&app, &other.id).await;
    let unready =
        eventually("the halt", async || Some(app.readiness().await).filter(|answer| answer.status() == 503))
            .await;
    // Readiness is public and names the component only; operators see the details.
    let body = unready.json();
    assert_eq!(
        (&body["users"], &body["database"], &body["lag"]),
        (&json!("halted"), &json!("ok"), &json!(1))
    );
    let deployment = Deployment::of(app.store().clone()).with("AEGIS_MASTER_KEY", MASTER_KEY);
    let status = deployment.json(&["projections", "status"]).await;
    let (name, users) = (&status[0]["name"], &status[0]["versions"][0]);
    assert_eq!((name, &users["state"]), (&json!("users"), &json!("halted")), "{status:?}");
    let reason = users["error"].as_str().unwrap();
    assert!(
        reason.contains(&format!("position {position} ")) && reason.contains("UserTeleported"),
        "{reason}"
    );
    // Known users are served. But a stale row admits no one: neither the user of the unknown event nor one
    // who is deactivated only now.
    app.me(&known.token).await.expect(200);
    app.log_in(&known.email, PASSWORD).await.expect(200);
    let context = CommandContext::new("system", "test");
    let id = UserId::parse(&known.id).unwrap();
    app.services().users.execute(&context, id, &UserCommand::Deactivate { reason: None }).await.unwrap();
    for user in [&known, &other] {
        let refused = async || Some(app.me(&user.token).await).filter(|answer| answer.status() != 200);
        assert_behind(&eventually("the stale row to be rejected", refused).await);
        assert_behind(&app.log_in(&user.email, PASSWORD).await);
    }
    let id = sign_up_unprojected(&app, "fresh").await;
    assert_behind(&app.log_in(&email_of("fresh"), PASSWORD).await);
    assert_behind(&app.me(&token_for(&id)).await);
    app.get("/health").send().await.expect(200);
    app.readiness().await.expect(503);
}

async fn node_without_projector_uses_another_nodes_projections(store: Store) {
    let idle = TestApp::start_without_projector(store).await;
    let working = TestApp::start(idle.store().clone()).await;
    for number in 0..10 {
        let user = idle.sign_up(&format!("user{number}")).await;
        idle.me(&user.token).await.expect(200);
        working.me(&user.token).await.expect(200);
    }
}

async fn rebuild_admits_no_deactivated_user_and_hides_no_user(store: Store) {
    let app = TestApp::start(store).await;
    let (out, known) = (app.sign_up("out").await, app.sign_up("known").await);
    // More than one batch of the projector, between the events that admit and those that lock out the user.
    let password_hash = PasswordHash::new("$argon2id$none".to_owned()).unwrap();
    let others = (0..700).map(|number| UserCommand::Register {
        email: EmailAddress::parse(&format!("other{number}@example.com")).unwrap(),
        username: Username::parse(&format!("other{number}")).unwrap(),
        password_hash: Some(password_hash.clone()),
    });
    let users = &app.services().users;
    for done in join_all(others.map(|other| users.register("test", None, other))).await {
        done.unwrap();
    }
    let deactivate = json!({"password": PASSWORD});
    app.post("/users/me/deactivate").bearer(&out.token).json(&deactivate).send().await.expect(204);

    let store = &app.services().store;
    let now = Env::system().now();
    let building = lifecycle::rebuild(&Users, &app.services().projection_context, "test", now).await.unwrap();
    let mut asked = 0;
    while store.progress().live_version(Users.name()) != building.last || asked <= 10 {
        assert_eq!(app.me(&out.token).await.code(403), "inactive_user");
        app.me(&known.token).await.expect(200);
        asked += 1;
    }
    assert_eq!(app.me(&out.token).await.code(403), "inactive_user");
    let fresh = app.sign_up("fresh").await;
    app.me(&fresh.token).await.expect(200);
}

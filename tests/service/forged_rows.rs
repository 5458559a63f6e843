//! Rows of read models that were changed directly in the database: they gain nothing, and
//! are named.

use aegis::app::Database;
use aegis::command::UserCommands;
use domain::{EmailAddress, PasswordHash, Role, UserCommand, Username};
use projections::verify::{self, VerifyError};
use projections::{Daily, Projection, ProjectionContext, Users, lifecycle};
use reqwest::Method;
use serde_json::json;
use store::{
    Append, Env, EventStore, ExpectedVersion, MasterKey, NewEvent, StreamId, StreamWrite,
    VerifyError as LogError,
};

use crate::support::{
    LEGACY_PASSWORD, LEGACY_PASSWORD_HASH, MASTER_KEY, PASSWORD, Store, TestApp, WebhookReceiver, eventually,
    metric, metrics, on_both_stores,
};

on_both_stores! {
    edited_roles_are_refused_and_named
    edited_password_hash_is_refused
    deleted_row_does_not_make_a_user_nonexistent
    replayed_row_of_a_former_administrator_gives_no_authority
    edited_statistics_are_refused
    upgrade_from_rows_without_codes_rejects_nothing_but_forged_ones
    planted_delivery_cursor_skips_nothing
    planted_idempotency_entry_answers_no_request
    event_of_an_actor_without_the_role_is_named
}

/// The live table of users.
const USERS: &str = "users_1";

/// What verifying a read model finds wrong with a row, and the key of the row.
async fn finding(app: &TestApp, projection: &'static dyn Projection) -> (String, &'static str) {
    match verify::verify(projection, &app.services().projection_context, None, &mut |_, _| {}).await {
        Err(VerifyError::Differs(difference)) => (difference.key, difference.kind.code()),
        other => panic!("{other:?}"),
    }
}

async fn edited_roles_are_refused_and_named(store: Store) {
    let app = TestApp::start(store).await;
    let (mallory, victim) = (app.sign_up("mallory").await, app.sign_up("victim").await);
    let before = app.store().set_by_hand(USERS, &mallory.id, "roles", json!(["admin"])).await;
    let reads = [format!("/users/{}", victim.id), "/events".to_owned(), "/users/me".to_owned()];
    for path in reads {
        let refused = mallory.get(&path).send().await;
        assert_eq!(refused.code(503), "row_tampered", "{path}");
    }
    let path = format!("/users/{}/roles/admin", mallory.id);
    assert_eq!(mallory.put(&path).send().await.code(503), "row_tampered");
    assert_eq!(app.log_in(&mallory.email, PASSWORD).await.code(503), "row_tampered");
    assert_eq!(finding(&app, &Users).await, (mallory.id.clone(), "row_tampered"));
    let counted = metric(&metrics(&app).await, "aegis_tampered_records_total{record=\"row\"}");
    assert!(counted >= Some(5.0), "{counted:?}");
    victim.get("/users/me").send().await.expect(200);

    app.store().set_by_hand(USERS, &mallory.id, "roles", before).await;
    mallory.get("/users/me").send().await.expect(200);
    assert_eq!(mallory.get("/events").send().await.code(403), "forbidden");
}

async fn edited_password_hash_is_refused(store: Store) {
    let app = TestApp::start(store).await;
    let (admin, mallory) = (app.admin().await, app.sign_up("mallory").await);
    let own = app.store().set_by_hand(USERS, &mallory.id, "password_hash", json!("x")).await;
    let swapped = app.store().set_by_hand(USERS, &admin.id, "password_hash", own).await;
    assert_eq!(app.log_in(&admin.email, PASSWORD).await.code(503), "row_tampered");
    app.store().set_by_hand(USERS, &admin.id, "password_hash", swapped).await;
    app.log_in(&admin.email, PASSWORD).await.expect(200);
}

async fn deleted_row_does_not_make_a_user_nonexistent(store: Store) {
    let app = TestApp::start(store).await;
    let (admin, ada) = (app.admin().await, app.sign_up("ada").await);
    app.store().delete_user_by_hand(USERS, &ada.id).await;
    assert_eq!(app.log_in(&ada.email, PASSWORD).await.code(503), "row_tampered");
    assert_eq!(ada.get("/users/me").send().await.code(503), "row_tampered");
    assert_eq!(admin.get(&format!("/users/{}", ada.id)).send().await.code(503), "row_tampered");
    assert_eq!(finding(&app, &Users).await, (ada.id.clone(), "row_missing"));
    // Users who never existed are unknown as before.
    assert_eq!(app.log_in("unknown@example.com", PASSWORD).await.code(400), "invalid_credentials");
}

/// The old row is authentic, and the token was valid when it was; the log decides.
async fn replayed_row_of_a_former_administrator_gives_no_authority(store: Store) {
    let app = TestApp::start(store).await;
    let (admin, former) = (app.admin().await, app.sign_up("former").await);
    let path = format!("/users/{}/roles/admin", former.id);
    admin.put(&path).send().await.expect(204);
    let saved = app.store().save_user_row(USERS, &former.id).await;
    let token = app.token_of(&former.email).await;
    admin.delete(&path).send().await.expect(204);
    app.store().restore_user_row(USERS, &saved).await;
    let send = async |request: crate::support::Request| request.bearer(&token).send().await;
    assert_eq!(send(app.get(&format!("/users/{}", admin.id))).await.code(403), "forbidden");
    assert_eq!(send(app.get("/events")).await.code(403), "forbidden");
    assert_eq!(send(app.request(Method::PUT, &path)).await.code(403), "forbidden");
    assert_eq!(finding(&app, &Users).await.0, former.id);
}

async fn edited_statistics_are_refused(store: Store) {
    let app = TestApp::start(store).await;
    let admin = app.admin().await;
    let stats = admin.get("/stats").send().await.expect(200).json();
    let day = stats["days"][0]["day"].as_str().unwrap().to_owned();
    app.store().set_by_hand("daily_1", &day, "registered", json!(1_000)).await;
    assert_eq!(admin.get("/stats").send().await.code(503), "row_tampered");
    assert_eq!(finding(&app, &Daily).await, (day, "row_tampered"));
}

/// A database as a release without row authentication left it, with one user.
async fn database_without_codes(store: &Store) -> String {
    let database = Database::connect(&store.settings()).await.unwrap();
    let (env, master) = (Env::system(), MasterKey::from_base64(MASTER_KEY).unwrap());
    let events = EventStore::open(database.log, master, env.clone()).await.unwrap();
    let context = ProjectionContext { events: events.clone(), rows: database.rows, leases: database.leases };
    let registration = UserCommand::Register {
        email: EmailAddress::parse("old@example.com").unwrap(),
        username: Username::parse("old").unwrap(),
        password_hash: Some(PasswordHash::new(LEGACY_PASSWORD_HASH.to_owned()).unwrap()),
    };
    let user =
        UserCommands::new(events.clone(), env.clone()).register("r", None, registration).await.unwrap();
    for projection in projections::all() {
        let first = projection.with_version(1).unwrap();
        lifecycle::open(first, &context, "system", env.now()).await.unwrap();
        projections::catch_up(first, &context).await.unwrap();
    }
    events.close().await;
    user.id.to_string()
}

async fn upgrade_from_rows_without_codes_rejects_nothing_but_forged_ones(store: Store) {
    let id = database_without_codes(&store).await;
    let app = TestApp::start_without_projector(store).await;
    let live = || app.services().store.progress().versions["users"].live;
    app.log_in("old@example.com", LEGACY_PASSWORD).await.expect(200);
    let before = app.store().set_by_hand("users_1", &id, "roles", json!(["admin"])).await;
    assert_eq!(app.log_in("old@example.com", LEGACY_PASSWORD).await.code(503), "row_tampered");
    app.store().set_by_hand("users_1", &id, "roles", before).await;
    assert_eq!(live(), 1);

    let upgraded = app.start_second_node().await;
    let is_live = async || {
        app.log_in("old@example.com", LEGACY_PASSWORD).await.expect(200);
        (live() == 2).then_some(())
    };
    eventually("the rebuilt version to be live", is_live).await;
    app.store().set_by_hand("users_2", &id, "roles", json!(["admin"])).await;
    for node in [&app, &upgraded] {
        assert_eq!(node.log_in("old@example.com", LEGACY_PASSWORD).await.code(503), "row_tampered");
    }
}

async fn planted_delivery_cursor_skips_nothing(store: Store) {
    let app = TestApp::start(store).await;
    let receiver = WebhookReceiver::start().await;
    let owner = app.user_with(Role::Subscriber).await;
    let body = json!({"url": receiver.url("127.0.0.1"), "types": ["UserRegistered"]});
    let webhook = owner.post("/webhooks").json(&body).send().await.expect(201).json();
    let id = webhook["id"].as_str().unwrap().to_owned();
    app.sign_up("first").await;
    receiver.wait_for_accepted(1).await;
    let path = format!("/webhooks/{id}");
    let shown = async || owner.get(&path).send().await.expect(200).json();
    eventually("the cursor", async || Some(shown().await).filter(|view| view["position"].as_u64() > Some(2)))
        .await;
    let store = app.store().clone();
    app.stopped().await;

    store.plant_cursor(&format!("webhook-{id}"), 1_000).await;
    let app = TestApp::start(store).await;
    let owner = owner.at(&app);
    let shown = async || owner.get(&path).send().await.expect(200).json();
    app.sign_up("second").await;
    let unreadable = async || Some(shown().await).filter(|view| view["state"] == "unreadable");
    let view = eventually("the state", unreadable).await;
    assert!(view["unreadable"].as_str().unwrap().contains("not authentic"), "{view}");
    let count = async |series: &str| metric(&metrics(&app).await, series).filter(|count| *count >= 1.0);
    eventually("the worker's state", async || count("aegis_webhooks{state=\"unreadable\"}").await).await;
    count("aegis_tampered_records_total{record=\"delivery_cursor\"}").await.unwrap();
    owner.post(&format!("{path}/resume")).send().await.expect(200);
    // From the registration on: nothing is skipped.
    let delivered = receiver.wait_for_accepted(3).await;
    assert_eq!(delivered[0].position(), delivered[1].position());
    assert!(delivered[2].position() > delivered[1].position());
    eventually("the state", async || Some(shown().await).filter(|view| view["state"] == "active")).await;
}

async fn planted_idempotency_entry_answers_no_request(store: Store) {
    let app = TestApp::start(store).await;
    let admin = app.admin().await;
    let (ada, bob) = (app.sign_up("ada").await, app.sign_up("bob").await);
    let deactivate = |id: &str| admin.deactivate(id).header("Idempotency-Key", "key");
    deactivate(&ada.id).send().await.expect(200);
    app.store().plant_result(&format!("user-{}", bob.id)).await;
    assert_eq!(deactivate(&ada.id).send().await.code(422), "idempotency_key_reused");
}

async fn event_of_an_actor_without_the_role_is_named(store: Store) {
    let app = TestApp::start(store).await;
    let (admin, mallory) = (app.admin().await, app.sign_up("mallory").await);
    admin.put(&format!("/users/{}/roles/auditor", mallory.id)).send().await.expect(204);
    admin.delete(&format!("/users/{}/roles/admin", admin.id)).send().await.code(409);
    aegis::authority::verify(&app.services().store).await.unwrap();
    // As a release appended it that believed the row.
    let stream = StreamId::new(format!("user-{}", mallory.id)).unwrap();
    let granted = NewEvent {
        id: Env::system().uuid(),
        event_type: "RoleGranted".to_owned(),
        schema: 1,
        data: json!({"role": "admin"}).as_object().unwrap().clone(),
        personal: serde_json::Map::new(),
    };
    let write = StreamWrite::new(stream.clone(), ExpectedVersion::Any, vec![granted]);
    let appended =
        app.services().store.append(&Append::new(stream.as_str(), "r", vec![write])).await.unwrap();
    let Err(LogError::Found(finding)) = aegis::authority::verify(&app.services().store).await else {
        panic!("the event was not found");
    };
    assert_eq!((finding.position, finding.kind.code()), (appended.position, "actor_unauthorized"));
}

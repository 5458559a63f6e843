//! Sessions in the database: edited, copied, put back, erased, purged.

use jiff::SignedDuration;
use serde_json::{Value, json};

use super::{Tokens, assert_ended, assert_open, open, refresh, refreshed, stream, user_of};
use crate::support::{
    Deployment, MASTER_KEY, PASSWORD, Store, TestApp, User, captured_logs, contains_text, dump, eventually,
    on_both_stores,
};

on_both_stores! {
    erasure_leaves_nothing_of_a_session
    session_put_back_into_the_database_is_not_renewed
    edited_and_copied_sessions_are_refused
    expired_sessions_are_deleted_in_bounded_steps
    open_sessions_are_exported
    expired_sessions_are_deleted_without_a_projector
}

/// The database of the service, as a program that can write to it.
async fn raw_sessions(app: &TestApp) -> std::sync::Arc<dyn store::SessionStore> {
    aegis::app::Database::connect(&app.store().settings()).await.unwrap().sessions
}

async fn erasure_leaves_nothing_of_a_session(store: Store) {
    let app = TestApp::start(store.clone()).await;
    let admin = app.admin().await;
    let user = app.sign_up("zyx").await;
    let form = [("username", &*user.email), ("password", PASSWORD), ("scope", "offline_access")];
    let answer =
        app.post("/auth/login/access-token").header("User-Agent", "Zyxagent/1").form(&form).send().await;
    let tokens = Tokens::of(&answer.expect(200).json());
    let shown = async || {
        let dumped = dump(&store).await;
        let is_shown =
            |bytes: &[u8]| contains_text(bytes, "Zyxagent") || contains_text(bytes, &tokens.refresh);
        dumped.into_iter().filter(|(_, bytes)| is_shown(bytes)).map(|(name, _)| name).collect::<Vec<_>>()
    };
    assert_eq!(shown().await, [""; 0], "it is sealed");
    let path = format!("/users/{}/erase", user.id);
    admin.post(&path).json(&json!({"reason": "request"})).send().await.expect(204);
    assert_ended(&app, &tokens, "erased").await;
    assert!(app.services().sessions.of(&stream(&user)).await.unwrap().is_empty());
    assert!(!captured_logs().contains("Zyxagent"));
}

async fn session_put_back_into_the_database_is_not_renewed(store: Store) {
    let app = TestApp::start(store).await;
    let ada = app.sign_up("ada").await;
    let (raw, tokens) = (raw_sessions(&app).await, open(&app, &ada.email).await);
    let record = raw.sessions_of(&stream(&ada)).await.unwrap().remove(0);
    user_of(&ada, &tokens).post("/auth/logout").send().await.expect(204);
    raw.open_session(&record).await.unwrap();
    assert_eq!(refresh(&app, &tokens.refresh).await.code(400), "invalid_grant");
}

async fn edited_and_copied_sessions_are_refused(store: Store) {
    let app = TestApp::start(store).await;
    let (ada, eve) = (app.sign_up("ada").await, app.sign_up("eve").await);
    let (raw, mine) = (raw_sessions(&app).await, open(&app, &eve.email).await);
    let victim = open(&app, &ada.email).await;
    let first = async |user: &User| raw.sessions_of(&stream(user)).await.unwrap().remove(0);
    let (own, foreign) = (first(&eve).await, first(&ada).await);
    let mut later = own.rotation.clone();
    later["expires_at"] = json!(4_000_000_000_000_i64);
    let mut older = own.grant.clone();
    older["version"] = json!(99);
    for forged in [
        store::sessions::SessionRecord { stream: stream(&ada), ..own.clone() },
        store::sessions::SessionRecord { grant: foreign.grant.clone(), ..own.clone() },
        store::sessions::SessionRecord { rotation: foreign.rotation.clone(), ..own.clone() },
        store::sessions::SessionRecord { rotation: later, ..own.clone() },
        store::sessions::SessionRecord { grant: older, ..own.clone() },
        store::sessions::SessionRecord { grant: Value::Null, ..own.clone() },
        store::sessions::SessionRecord { generation: 7, ..own.clone() },
        store::sessions::SessionRecord { id: foreign.id, ..own.clone() },
    ] {
        raw.purge_sessions(jiff::Timestamp::MAX, 1_000).await.unwrap();
        raw.open_session(&forged).await.unwrap();
        for tokens in [&mine, &victim] {
            assert_ended(&app, tokens, &format!("{forged:?}")).await;
        }
    }
    raw.purge_sessions(jiff::Timestamp::MAX, 1_000).await.unwrap();
    raw.open_session(&own).await.unwrap();
    assert_open(&app, &mine, "the genuine one").await;
    let counted = crate::support::metric(
        &crate::support::metrics(&app).await,
        "aegis_tampered_records_total{record=\"session\"}",
    );
    assert!(counted.is_some_and(|count| count >= 8.0), "{counted:?}");
}

async fn expired_sessions_are_deleted_in_bounded_steps(store: Store) {
    let app = TestApp::start_with(store, |settings| settings.rate_limits = false).await;
    let ada = app.sign_up("ada").await;
    open(&app, &ada.email).await;
    let raw = raw_sessions(&app).await;
    let record = raw.sessions_of(&stream(&ada)).await.unwrap().remove(0);
    for number in 0..50_u128 {
        let id = uuid::Uuid::from_u128(number);
        let expires_at = jiff::Timestamp::UNIX_EPOCH;
        raw.open_session(&store::sessions::SessionRecord { id, expires_at, ..record.clone() }).await.unwrap();
    }
    let epoch = jiff::Timestamp::UNIX_EPOCH;
    assert_eq!(raw.purge_sessions(epoch, 20).await.unwrap(), 0, "not before that time");
    assert_eq!(raw.purge_sessions(epoch + SignedDuration::from_secs(1), 20).await.unwrap(), 20);
    assert_eq!(app.services().sessions.purge().await.unwrap(), 30);
    assert_eq!(raw.sessions_of(&stream(&ada)).await.unwrap(), [record]);
}

async fn open_sessions_are_exported(store: Store) {
    let app = TestApp::start(store.clone()).await;
    let (admin, ada) = (app.admin().await, app.sign_up("ada").await);
    let export = async |caller: &User| {
        let answer = caller.get("/users/me/export").send().await.expect(200);
        assert_eq!(answer.header("Content-Type"), "application/json");
        answer.json()["sessions"].clone()
    };
    assert_eq!(export(&ada).await, json!([]));
    open(&app, &admin.email).await;
    let form = [
        ("grant_type", "password"),
        ("username", &*ada.email),
        ("password", PASSWORD),
        ("scope", "offline_access"),
    ];
    let kept = app.post("/auth/token").header("User-Agent", "Ada's tablet").form(&form).send().await;
    let kept = refreshed(&app, &Tokens::of(&kept.expect(200).json())).await;
    let ended = open(&app, &ada.email).await;
    user_of(&ada, &ended).post("/auth/logout").send().await.expect(204);
    let mut listed = ada.get("/users/me/sessions").send().await.expect(200).json()["sessions"].clone();
    listed[0].as_object_mut().unwrap().remove("current");
    assert_eq!(listed[0]["user_agent"], "Ada's tablet");
    assert_eq!(export(&ada).await, listed);
    user_of(&ada, &kept).post("/auth/logout-all").send().await.expect(204);
    let ada = ada.with_token(&app.token_of(&ada.email).await);
    assert_eq!(export(&ada).await, json!([]));
    open(&app, &ada.email).await;
    assert_eq!(export(&ada).await.as_array().unwrap().len(), 1);
    ada.delete("/users/me").json(&json!({"password": PASSWORD})).send().await.expect(204);
    app.stopped().await;
    let deployment = Deployment::of(store).with("AEGIS_MASTER_KEY", MASTER_KEY);
    let record: Value =
        serde_json::from_str(&deployment.run_ok(&["users", "export", &ada.id]).await.stdout).unwrap();
    assert_eq!((&record["account"], &record["sessions"]), (&json!(null), &json!([])));
}

async fn expired_sessions_are_deleted_without_a_projector(store: Store) {
    let app = TestApp::start(store.clone()).await;
    let ada = app.sign_up("ada").await;
    open(&app, &ada.email).await;
    let raw = raw_sessions(&app).await;
    let record = raw.sessions_of(&stream(&ada)).await.unwrap().remove(0);
    let (id, expires_at) = (uuid::Uuid::nil(), jiff::Timestamp::UNIX_EPOCH);
    raw.open_session(&store::sessions::SessionRecord { id, expires_at, ..record.clone() }).await.unwrap();
    app.stopped().await;
    let app = TestApp::start_without_projector(store).await;
    let raw = raw_sessions(&app).await;
    eventually("the purge", async || raw.session(id).await.unwrap().is_none().then_some(())).await;
    assert_eq!(raw.sessions_of(&stream(&ada)).await.unwrap(), [record]);
}

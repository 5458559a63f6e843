//! Migration from the legacy service: its tokens, password hashes and secret key remain valid.

use aegis::config::Secret;
use domain::{EmailAddress, Erasable, PasswordHash, UserCommand, UserEvent, UserId, Username};
use jsonwebtoken::Algorithm;
use serde_json::json;
use store::{Append, Claim, ExpectedVersion, StreamId, StreamWrite};
use testkit::service::eventually;

use crate::support::{
    LEGACY_PASSWORD, LEGACY_PASSWORD_HASH, PASSWORD, SECRET_KEY, Store, TestApp, captured_logs,
    on_both_stores, sign_token,
};

on_both_stores! {
    legacy_token_with_sub_and_exp_only_is_accepted
    imported_user_keeps_its_object_id_everywhere
    older_users_get_claims_on_what_their_names_look_like
    legacy_password_hash_logs_in
    previous_secret_key_verifies_but_never_signs
}

const OBJECT_ID: &str = "65a1b2c3d4e5f60718293a4b";

async fn legacy_token_with_sub_and_exp_only_is_accepted(store: Store) {
    let app = TestApp::start(store).await;
    let user = app.sign_up("ada").await;
    for exp in [json!(4_000_000_000_u64), json!(4_000_000_000.5)] {
        let token = sign_token(&json!({"sub": user.id, "exp": exp}), Algorithm::HS256, SECRET_KEY);
        assert_eq!(app.me(&token).await.expect(200).json()["id"], user.id.as_str());
    }
    let more = json!({"sub": user.id, "exp": 4_000_000_000_u64, "iss": "you", "extra": [1]});
    app.me(&sign_token(&more, Algorithm::HS256, SECRET_KEY)).await.expect(200);
    // The libraries of the legacy service refuse a token for an audience.
    let foreign = json!({"sub": user.id, "exp": 4_000_000_000_u64, "aud": "me"});
    app.me(&sign_token(&foreign, Algorithm::HS256, SECRET_KEY)).await.expect(403);
}

fn sign_up(hash: &str) -> UserCommand {
    UserCommand::Register {
        email: EmailAddress::parse("old@example.com").unwrap(),
        username: Username::parse("old").unwrap(),
        password_hash: Some(PasswordHash::new(hash.to_owned()).unwrap()),
    }
}

/// Registers a user as before there were claims on skeletons.
async fn register_without_skeleton(app: &TestApp, id: UserId, email: &str, username: &str) -> StreamId {
    let (email, username) = (EmailAddress::parse(email).unwrap(), Username::from_stored(username));
    let event = UserEvent::UserRegistered {
        email: Erasable::Known(email.clone()),
        username: Erasable::Known(username.clone()),
        password_hash: Some(Erasable::Known(PasswordHash::new(LEGACY_PASSWORD_HASH.to_owned()).unwrap())),
    };
    let new = event_codec::new_event(&store::Env::system(), event.encode());
    let stream = StreamId::new(id.stream()).unwrap();
    let mut write = StreamWrite::new(stream.clone(), ExpectedVersion::NoStream, vec![new]);
    write.take =
        vec![Claim { kind: "email", value: email.key() }, Claim { kind: "username", value: username.key() }];
    app.services().store.append(&Append::new("system", "test", vec![write])).await.unwrap();
    stream
}

async fn older_users_get_claims_on_what_their_names_look_like(store: Store) {
    let app = TestApp::start(store).await;
    let id = || UserId::from_uuid(store::Env::system().uuid());
    let ada = register_without_skeleton(&app, id(), "ada@example.com", "ada").await;
    let twin = register_without_skeleton(&app, id(), "twin@example.com", "аda\u{2800}").await;
    let bob = register_without_skeleton(&app, id(), "bob@example.com", "bob").await;
    let node = app.start_second_node().await;
    let owners = async || {
        let claim = |name: &str| Claim { kind: "username_skeleton", value: name.to_owned() };
        app.services().store.claim_owners(&[claim("ada"), claim("bob")]).await.unwrap()
    };
    eventually("the second node to claim what names look like", async || {
        (owners().await == [Some(ada.clone()), Some(bob.clone())]).then_some(())
    })
    .await;
    let collision = format!("user={twin} other={ada}");
    eventually("the names that look alike to be logged", async || {
        captured_logs().contains(&collision).then_some(())
    })
    .await;
    let body = json!({"email": "new@example.com", "username": "BOB", "password": PASSWORD});
    node.post("/auth/signup").json(&body).send().await.expect(400);
    let body = json!({"email": "new@example.com", "username": "вob", "password": PASSWORD});
    node.post("/auth/signup").json(&body).send().await.expect(422);
    let body = json!({"email": "new@example.com", "username": "b0b", "password": PASSWORD});
    assert_eq!(
        node.post("/auth/signup").json(&body).send().await.expect(400).json()["code"],
        "username_confusable"
    );
    // Both keep their names.
    for (email, name) in [("ada@example.com", "ada"), ("twin@example.com", "аda\u{2800}")] {
        let answer = app.log_in(email, LEGACY_PASSWORD).await.expect(200).json();
        let token = answer["access_token"].as_str().unwrap();
        assert_eq!(app.me(token).await.expect(200).json()["username"], name);
    }
    let verified = app.services().proofs.verify(aegis::query::claim_change, None, &mut |_, _| {}).await;
    verified.unwrap();
}

async fn imported_user_keeps_its_object_id_everywhere(store: Store) {
    let app = TestApp::start(store).await;
    register_without_skeleton(&app, UserId::parse(OBJECT_ID).unwrap(), "old@example.com", "old").await;
    let answer = app.log_in("old@example.com", LEGACY_PASSWORD).await.expect(200).json();
    let token = answer["access_token"].as_str().unwrap();
    assert_eq!(app.me(token).await.expect(200).json()["id"], OBJECT_ID);
    for sub in [OBJECT_ID.to_owned(), OBJECT_ID.to_uppercase()] {
        let token = sign_token(&json!({"sub": sub, "exp": 4_000_000_000_u64}), Algorithm::HS256, SECRET_KEY);
        assert_eq!(app.me(&token).await.expect(200).json()["id"], OBJECT_ID);
    }
    let admin = app.admin().await;
    assert_eq!(admin.look_up(OBJECT_ID).await["email"], "old@example.com");
    admin.deactivate(OBJECT_ID).send().await.expect(200);
    let events = admin.whole_log().await;
    assert_eq!(
        (&events[0]["subject"], &events.last().unwrap()["subject"]),
        (&json!(OBJECT_ID), &json!(OBJECT_ID))
    );
}

async fn legacy_password_hash_logs_in(store: Store) {
    let app = TestApp::start(store).await;
    let done = app.services().users.register("test", None, sign_up(LEGACY_PASSWORD_HASH)).await.unwrap();
    app.services().user_rows.wait_until_visible(done.position.unwrap()).await;
    app.log_in("old@example.com", LEGACY_PASSWORD).await.expect(200);
    app.log_in("old@example.com", "wrong").await.expect(400);
    app.log_in("old@example.com", LEGACY_PASSWORD).await.expect(200);
}

async fn previous_secret_key_verifies_but_never_signs(store: Store) {
    const PREVIOUS: &str = "the previous secret key of the tests, as long";
    let app = TestApp::start_with(store, |settings| {
        settings.tokens.previous_key = Some(Secret::new(PREVIOUS.to_owned()));
    })
    .await;
    let user = app.sign_up("ada").await;
    let claims = json!({"sub": user.id, "exp": 4_000_000_000_u64});
    app.me(&sign_token(&claims, Algorithm::HS256, PREVIOUS)).await.expect(200);
    app.me(&sign_token(&claims, Algorithm::HS256, SECRET_KEY)).await.expect(200);
    app.me(&sign_token(&claims, Algorithm::HS256, "neither")).await.expect(403);
    let key = jsonwebtoken::DecodingKey::from_secret(PREVIOUS.as_bytes());
    let validation = jsonwebtoken::Validation::new(Algorithm::HS256);
    assert!(jsonwebtoken::decode::<serde_json::Value>(&user.token, &key, &validation).is_err());
}

//! Migration from the legacy service: its tokens, password hashes and secret key remain valid.

use aegis::config::Secret;
use domain::{EmailAddress, PasswordHash, UserCommand, UserId, Username};
use jsonwebtoken::Algorithm;
use serde_json::json;
use store::{Append, Claim, ExpectedVersion, NewEvent, StreamId, StreamWrite};

use crate::support::{
    LEGACY_PASSWORD, LEGACY_PASSWORD_HASH, SECRET_KEY, Store, TestApp, on_both_stores, sign_token,
};

on_both_stores! {
    legacy_token_with_sub_and_exp_only_is_accepted
    imported_user_keeps_its_object_id_everywhere
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
        password_hash: PasswordHash::new(hash.to_owned()).unwrap(),
    }
}

async fn imported_user_keeps_its_object_id_everywhere(store: Store) {
    let app = TestApp::start(store).await;
    let UserCommand::Register { email, username, password_hash } = sign_up(LEGACY_PASSWORD_HASH) else {
        unreachable!()
    };
    let event = domain::UserEvent::UserRegistered {
        email: domain::Erasable::Known(email.clone()),
        username: domain::Erasable::Known(username.clone()),
        password_hash: domain::Erasable::Known(password_hash),
    };
    let encoded = event.encode();
    let new = NewEvent {
        id: store::Env::system().uuid(),
        event_type: encoded.event_type.to_owned(),
        schema: encoded.schema,
        data: encoded.data,
        personal: encoded.personal,
    };
    let stream = StreamId::new(UserId::parse(OBJECT_ID).unwrap().stream()).unwrap();
    let mut write = StreamWrite::new(stream, ExpectedVersion::NoStream, vec![new]);
    write.take =
        vec![Claim { kind: "email", value: email.key() }, Claim { kind: "username", value: username.key() }];
    let append = Append::new("system", "test", vec![write]);
    app.services().store.append(&append).await.unwrap();
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

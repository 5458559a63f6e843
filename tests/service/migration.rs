//! What comes from the predecessor and must go on working: its tokens, its hashes, its key.

use aegis::command::SignUp;
use aegis::config::Secret;
use domain::{EmailAddress, PasswordHash, UserId, Username};
use jsonwebtoken::Algorithm;
use serde_json::json;
use store::{Append, Claim, Expected, NewEvent, StreamId, StreamWrite};

use crate::support::{
    PREDECESSORS_HASH, PREDECESSORS_PASSWORD, SECRET_KEY, Store, TestApp, on_both_stores, signed,
};

on_both_stores! {
    a_token_with_sub_and_exp_alone_is_good
    a_user_with_an_object_id_keeps_it_everywhere
    a_hash_of_the_predecessor_logs_in
    the_previous_key_verifies_but_never_signs
}

const OBJECT_ID: &str = "65a1b2c3d4e5f60718293a4b";

async fn a_token_with_sub_and_exp_alone_is_good(store: Store) {
    let app = TestApp::start(store).await;
    let user = app.sign_up("ada").await;
    for exp in [json!(4_000_000_000_u64), json!(4_000_000_000.5)] {
        let token = signed(&json!({"sub": user.id, "exp": exp}), Algorithm::HS256, SECRET_KEY);
        assert_eq!(app.me(&token).await.expect(200).json()["id"], user.id.as_str());
    }
    let more = json!({"sub": user.id, "exp": 4_000_000_000_u64, "aud": "me", "iss": "you", "extra": [1]});
    app.me(&signed(&more, Algorithm::HS256, SECRET_KEY)).await.expect(200);
}

fn sign_up(hash: &str) -> SignUp {
    SignUp {
        email: EmailAddress::parse("old@example.com").unwrap(),
        username: Username::parse("old").unwrap(),
        password_hash: PasswordHash::new(hash.to_owned()).unwrap(),
    }
}

async fn a_user_with_an_object_id_keeps_it_everywhere(store: Store) {
    let app = TestApp::start(store).await;
    let SignUp { email, username, password_hash } = sign_up(PREDECESSORS_HASH);
    let event = domain::UserEvent::UserRegistered {
        email: domain::Personal::Known(email.clone()),
        username: domain::Personal::Known(username.clone()),
        password_hash: domain::Personal::Known(password_hash),
    };
    let encoded = event.encode();
    let new = NewEvent {
        id: store::Ambient::system().uuid(),
        event_type: encoded.event_type.to_owned(),
        schema: encoded.schema,
        data: encoded.data,
        personal: encoded.personal,
    };
    let stream = StreamId::new(UserId::parse(OBJECT_ID).unwrap().stream()).unwrap();
    let mut write = StreamWrite::new(stream, Expected::NoStream, vec![new]);
    write.take =
        vec![Claim { kind: "email", value: email.key() }, Claim { kind: "username", value: username.key() }];
    let append = Append::new("system", "test", vec![write]);
    app.node().store.append(&append).await.unwrap();
    let answer = app.log_in("old@example.com", PREDECESSORS_PASSWORD).await.expect(200).json();
    let token = answer["access_token"].as_str().unwrap();
    assert_eq!(app.me(token).await.expect(200).json()["id"], OBJECT_ID);
    for sub in [OBJECT_ID.to_owned(), OBJECT_ID.to_uppercase()] {
        let token = signed(&json!({"sub": sub, "exp": 4_000_000_000_u64}), Algorithm::HS256, SECRET_KEY);
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

async fn a_hash_of_the_predecessor_logs_in(store: Store) {
    let app = TestApp::start(store).await;
    let done = app.node().users.sign_up("test", None, sign_up(PREDECESSORS_HASH)).await.unwrap();
    app.node().user_rows.settle(done.position.unwrap()).await;
    app.log_in("old@example.com", PREDECESSORS_PASSWORD).await.expect(200);
    app.log_in("old@example.com", "wrong").await.expect(400);
    app.log_in("old@example.com", PREDECESSORS_PASSWORD).await.expect(200);
}

async fn the_previous_key_verifies_but_never_signs(store: Store) {
    const PREVIOUS: &str = "short";
    let app = TestApp::start_with(store, |settings| {
        settings.tokens.previous_key = Some(Secret::new(PREVIOUS.to_owned()));
    })
    .await;
    let user = app.sign_up("ada").await;
    let claims = json!({"sub": user.id, "exp": 4_000_000_000_u64});
    app.me(&signed(&claims, Algorithm::HS256, PREVIOUS)).await.expect(200);
    app.me(&signed(&claims, Algorithm::HS256, SECRET_KEY)).await.expect(200);
    app.me(&signed(&claims, Algorithm::HS256, "neither")).await.expect(403);
    let key = jsonwebtoken::DecodingKey::from_secret(PREVIOUS.as_bytes());
    let validation = jsonwebtoken::Validation::new(Algorithm::HS256);
    assert!(jsonwebtoken::decode::<serde_json::Value>(&user.token, &key, &validation).is_err());
}
